package agent

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/yaml"

	"github.com/matryoshka-dev/matryoshka/internal/doormetrics"
	"github.com/matryoshka-dev/matryoshka/internal/shards"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
	tenancymetrics "github.com/matryoshka-dev/matryoshka/internal/tenancy/metrics"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
)

// What operators are given to look at the agent with, docs/operate/{metrics.md,dashboard.json,alerts.yaml}, must name metrics
// that there are. These tests read all three against what is registered.

func operate(t *testing.T, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", "..", "docs", "operate", name))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// metric is one that is registered.
type metric struct {
	name, kind, help string
	labels           []string
}

// recorder is a registerer that remembers what it is given.
type recorder struct {
	prometheus.Registerer
	collectors []prometheus.Collector
}

func (r *recorder) Register(collector prometheus.Collector) error {
	r.collectors = append(r.collectors, collector)
	return nil
}

// ours are the metrics of the agent's own parts, by name.
func ours(t *testing.T) map[string]metric {
	t.Helper()
	registerer := &recorder{}
	if _, err := engine.New(&rest.Config{Host: "https://192.0.2.1"}, tenants.NewRegistry(), nil, engine.Options{Registerer: registerer}); err != nil {
		t.Fatal(err)
	}
	if _, err := shards.New(shards.Options{Name: "agent", Registerer: registerer}); err != nil {
		t.Fatal(err)
	}
	if _, err := doormetrics.New(registerer); err != nil {
		t.Fatal(err)
	}
	if err := tenancymetrics.Register(tenancymetrics.Options{Registerer: registerer}); err != nil {
		t.Fatal(err)
	}
	found := map[string]metric{}
	for _, collector := range registerer.collectors {
		for _, described := range describe(t, collector) {
			described.kind = kindOf(t, collector)
			found[described.name] = described
		}
	}
	return found
}

// all are the metrics that /metrics of the agent can show, those of its libraries among them.
func all(t *testing.T) map[string]metric {
	t.Helper()
	libraries, ok := metrics.Registry.(prometheus.Collector)
	if !ok {
		t.Fatal("the registry of controller-runtime cannot be described")
	}
	found := ours(t)
	for _, described := range describe(t, libraries) {
		found[described.name] = described
	}
	families, err := metrics.Registry.Gather() // collectors of Go and of the process do not say all in advance
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if _, ok := found[family.GetName()]; !ok {
			found[family.GetName()] = metric{name: family.GetName()}
		}
	}
	return found
}

var described = regexp.MustCompile(`^Desc\{fqName: "([^"]*)", help: "((?:[^"\\]|\\.)*)".*variableLabels: \{([^}]*)\}\}$`)

func describe(t *testing.T, collector prometheus.Collector) []metric {
	t.Helper()
	descriptions := make(chan *prometheus.Desc)
	go func() {
		defer close(descriptions)
		collector.Describe(descriptions)
	}()
	var found []metric
	for description := range descriptions {
		parts := described.FindStringSubmatch(description.String())
		if parts == nil {
			t.Fatalf("cannot read %s", description)
		}
		one := metric{name: parts[1], help: parts[2]}
		if parts[3] != "" {
			one.labels = strings.Split(parts[3], ",")
		}
		found = append(found, one)
	}
	return found
}

func kindOf(t *testing.T, collector prometheus.Collector) string {
	t.Helper()
	switch collector.(type) {
	case *prometheus.HistogramVec:
		return "histogram"
	case *prometheus.CounterVec:
		return "counter"
	case *tenancymetrics.Gauge:
		return "gauge"
	case *prometheus.GaugeVec:
		return "gauge"
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector)
	families, err := registry.Gather()
	if err != nil || len(families) != 1 {
		t.Fatalf("gather %T: %d families, %v", collector, len(families), err)
	}
	return strings.ToLower(families[0].GetType().String())
}

// TestEveryMetricIsDocumented: the table is what is registered, no more and no less, in the order of the names.
func TestEveryMetricIsDocumented(t *testing.T) {
	var told []string
	for line := range strings.Lines(string(operate(t, "metrics.md"))) {
		if strings.HasPrefix(line, "| `matryoshka_") {
			told = append(told, strings.TrimSpace(line))
		}
	}
	registered := ours(t)
	var rows []string
	for _, name := range slices.Sorted(maps.Keys(registered)) {
		one := registered[name]
		labels := ""
		for _, label := range one.labels {
			labels += ", " + quoted(label)
		}
		rows = append(rows, fmt.Sprintf("| %s | %s | %s | %s |", quoted(name), one.kind, strings.TrimPrefix(labels, ", "), one.help))
	}
	if len(rows) < 10 {
		t.Fatalf("only %d metrics are registered", len(rows))
	}
	if diff := cmp.Diff(told, rows); diff != "" {
		t.Errorf("rows of docs/operate/metrics.md (-), and what they must be (+):\n%s\nThe table is:\n%s", diff, strings.Join(rows, "\n"))
	}
}

func quoted(name string) string { return "`" + name + "`" }

// TestLabelsNameNoTenant: their number would have no bound.
func TestLabelsNameNoTenant(t *testing.T) {
	for name, one := range ours(t) {
		for _, label := range one.labels {
			if !slices.Contains([]string{
				"kind", "direction", "cause", "side", "found", "door", "code", "reason",
				// Admins make accounts and quotas, and say of what.
				"account", "quota", "resource", "counted", "state",
			}, label) {
				t.Errorf("%s has the label %q; if its values are few whatever tenants do, name it here", name, label)
			}
		}
	}
}

func TestAlertsNameWhatThereIs(t *testing.T) {
	var file struct {
		Groups []struct {
			Name  string `json:"name"`
			Rules []struct {
				Alert       string            `json:"alert"`
				Expr        string            `json:"expr"`
				For         string            `json:"for"`
				Labels      map[string]string `json:"labels"`
				Annotations map[string]string `json:"annotations"`
			} `json:"rules"`
		} `json:"groups"`
	}
	if err := yaml.UnmarshalStrict(operate(t, "alerts.yaml"), &file); err != nil {
		t.Fatal(err)
	}
	registered := all(t)
	seen := map[string]bool{}
	for _, group := range file.Groups {
		for _, rule := range group.Rules {
			if seen[rule.Alert] || !regexp.MustCompile(`^Matryoshka[A-Za-z]+$`).MatchString(rule.Alert) {
				t.Errorf("alert %q: its name is wrong or there twice", rule.Alert)
			}
			seen[rule.Alert] = true
			if rule.For != "" && !duration.MatchString(rule.For) {
				t.Errorf("alert %s: for %q is no duration", rule.Alert, rule.For)
			}
			if !slices.Contains([]string{"critical", "warning"}, rule.Labels["severity"]) || rule.Annotations["summary"] == "" || rule.Annotations["description"] == "" {
				t.Errorf("alert %s lacks a severity, a summary or a description", rule.Alert)
			}
			if err := checkQuery(rule.Expr, registered); err != nil {
				t.Errorf("alert %s: %v", rule.Alert, err)
			}
		}
	}
	if len(seen) < 6 {
		t.Errorf("only %d alerts", len(seen))
	}
}

type (
	dashboard struct {
		UID           string  `json:"uid"`
		Title         string  `json:"title"`
		SchemaVersion int     `json:"schemaVersion"`
		Panels        []panel `json:"panels"`
		Templating    struct {
			List []struct {
				Name, Type string
			} `json:"list"`
		} `json:"templating"`
	}
	panel struct {
		ID         int        `json:"id"`
		Type       string     `json:"type"`
		Title      string     `json:"title"`
		Datasource dataSource `json:"datasource"`
		Place      struct {
			X, Y, W, H int
		} `json:"gridPos"`
		Targets []struct {
			RefID      string     `json:"refId"`
			Expr       string     `json:"expr"`
			Datasource dataSource `json:"datasource"`
		} `json:"targets"`
	}
	dataSource struct{ Type, UID string }
)

func TestDashboardShowsWhatThereIs(t *testing.T) {
	var shown dashboard
	if err := json.Unmarshal(operate(t, "dashboard.json"), &shown); err != nil {
		t.Fatal(err)
	}
	if shown.UID == "" || shown.Title == "" || shown.SchemaVersion < 36 {
		t.Errorf("the dashboard has no uid, title or schema version: %q %q %d", shown.UID, shown.Title, shown.SchemaVersion)
	}
	var variables []string
	for _, variable := range shown.Templating.List {
		variables = append(variables, variable.Name)
	}
	registered := all(t)
	used := map[string]bool{}
	type cell struct{ x, y int }
	ids, cells := map[int]bool{}, map[cell]string{}
	for _, panel := range shown.Panels {
		if ids[panel.ID] || panel.Title == "" || panel.Place.W <= 0 || panel.Place.H <= 0 || panel.Place.X+panel.Place.W > 24 {
			t.Errorf("panel %d %q: its ID is there twice, or it lacks a title or a place within 24 columns", panel.ID, panel.Title)
		}
		ids[panel.ID] = true
		for x := panel.Place.X; x < panel.Place.X+panel.Place.W; x++ {
			for y := panel.Place.Y; y < panel.Place.Y+panel.Place.H; y++ {
				if other := cells[cell{x, y}]; other != "" {
					t.Fatalf("panels %q and %q overlap", other, panel.Title)
				}
				cells[cell{x, y}] = panel.Title
			}
		}
		if panel.Type == "row" {
			continue
		}
		if len(panel.Targets) == 0 {
			t.Errorf("panel %q shows nothing", panel.Title)
		}
		refs := map[string]bool{}
		for _, target := range panel.Targets {
			if target.RefID == "" || refs[target.RefID] || target.Datasource != (dataSource{"prometheus", "${datasource}"}) {
				t.Errorf("panel %q: target %q of %+v", panel.Title, target.RefID, target.Datasource)
			}
			refs[target.RefID] = true
			if err := checkQuery(target.Expr, registered); err != nil {
				t.Errorf("panel %q: %v", panel.Title, err)
			}
			for _, variable := range regexp.MustCompile(`\$([a-z]+)`).FindAllStringSubmatch(target.Expr, -1) {
				if !slices.Contains(variables, variable[1]) {
					t.Errorf("panel %q uses $%s, which is not defined", panel.Title, variable[1])
				}
			}
			for name := range registered {
				if strings.Contains(target.Expr, name) {
					used[name] = true
				}
			}
		}
	}
	for name := range ours(t) {
		if !used[name] {
			t.Errorf("no panel shows %s", name)
		}
	}
}
