package e2e

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/matryoshka-dev/matryoshka/internal/tenancy/template/charttest"
)

const repeating = `apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}}
data:
  text: {{ repeat (int .Values.times) "x" | quote }}
`

// A chart is rendered beside the agent in its own container. One that takes all memory, by a number of a member's, is ended; the
// agent is not.
func TestChartsAreRenderedBesideTheAgent(t *testing.T) {
	t.Parallel()
	const name = "e2e-chart"
	newSpace(t, name, "{}")
	shared.mustApply(t, `
apiVersion: tenancy.matryoshka.dev/v1alpha1
kind: Template
metadata: {name: `+name+`}
spec:
  parameters: [{name: times, type: integer, required: true}]
  helm:
    chart: {inline: `+base64.StdEncoding.EncodeToString(charttest.Pack(t, map[string]string{"templates/all.yaml": repeating}))+`}
    values: {times: "${times}"}
`)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), cliTimeout)
		defer cancel()
		shared.matry(ctx, "kubectl", "delete", "template.tenancy.matryoshka.dev/"+name)
	})
	agent := func() string {
		return shared.mustMatry(t, "kubectl", "get", "pods", "-n", systemNamespace, "-l", "app.kubernetes.io/name=matryoshka-agent",
			"-o", "jsonpath={range .items[*]}{.metadata.uid} {.status.containerStatuses[*].restartCount}{end}")
	}
	before := agent()
	if before == "" {
		t.Fatal("no agent was found")
	}
	for instance, times := range map[string]string{"small": "3", "huge": "4000000000"} {
		shared.mustApply(t, `
apiVersion: tenancy.matryoshka.dev/v1alpha1
kind: TemplateInstance
metadata: {name: `+instance+`, namespace: `+name+`}
spec: {template: `+name+`, parameters: [{name: times, value: "`+times+`"}]}
`)
	}
	eventually(t, startTimeout, func(ctx context.Context) error {
		said := shared.matry(ctx, "kubectl", "get", "templateinstance/huge", "-n", name, "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].message}`)
		if said.err == nil && !strings.Contains(said.stdout, "more than 256 MiB of memory") {
			return fmt.Errorf("the instance says %q", said.stdout)
		}
		return said.err
	})
	eventually(t, startTimeout, func(ctx context.Context) error {
		made := shared.matry(ctx, "kubectl", "get", "configmap/small", "-n", name, "-o", "jsonpath={.data.text}")
		if made.err == nil && made.stdout != "xxx" {
			return fmt.Errorf("the chart made %q", made.stdout)
		}
		return made.err
	})
	if after := agent(); after != before {
		t.Errorf("the agent is %s, was %s", after, before)
	}
}
