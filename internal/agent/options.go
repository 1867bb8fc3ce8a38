package agent

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/matryoshka-dev/matryoshka/internal/shards"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/hostusage"
	"github.com/matryoshka-dev/matryoshka/internal/virtualcluster"
)

// Options are the flags of matryd agent.
type Options struct {
	Kubeconfig       string
	Namespace        string
	Image            string
	FrontDoorAddress string
	DNSService       string
	ClusterDomain    string
	// Replica is the name of this replica among those of the agent.
	Replica  string
	LogLevel string
	// IngressAnnotations are annotations of tenants' Ingresses that go down beside those that are known to be harmless.
	IngressAnnotations []string
	// Limits are what each tenant may keep on the host.
	Limits hostusage.Limits
	// Memory is how many bytes the process may use. 0 is no bound.
	Memory int64

	FrontDoorListen   string
	KubeletDoorListen string
	AddressDoorListen string
	// QuotaWebhookListen is where the host's API server asks for room in the quotas of accounts.
	QuotaWebhookListen string
	MetricsListen      string
	HealthListen       string
}

// NewOptions returns the defaults.
func NewOptions() *Options {
	return &Options{
		Namespace:          "matryoshka-system",
		FrontDoorAddress:   "https://127.0.0.1:8443",
		DNSService:         "matryoshka-dns",
		ClusterDomain:      "cluster.local",
		LogLevel:           "info",
		Limits:             hostusage.Limits{Namespaces: 200, Objects: 10_000, Bytes: 128 << 20},
		FrontDoorListen:    fmt.Sprintf(":%d", virtualcluster.FrontDoorPort),
		KubeletDoorListen:  fmt.Sprintf(":%d", virtualcluster.KubeletDoorPort),
		AddressDoorListen:  fmt.Sprintf(":%d", virtualcluster.AddressDoorPort),
		QuotaWebhookListen: ":8446",
		MetricsListen:      ":8080",
		HealthListen:       ":8081",
	}
}

// AddFlags adds the flags.
func (o *Options) AddFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.Kubeconfig, "kubeconfig", o.Kubeconfig, "kubeconfig of the host cluster; empty uses the ServiceAccount of the pod")
	flags.StringVar(&o.Namespace, "namespace", o.Namespace, "namespace in which the agent and the DNS run")
	flags.StringVar(&o.Image, "image", o.Image, "image of the control planes: the image that the agent itself runs from (required)")
	flags.StringVar(&o.FrontDoorAddress, "front-door-address", o.FrontDoorAddress, "URL of the front door in the kubeconfigs of virtual clusters")
	flags.StringVar(&o.DNSService, "dns-service", o.DNSService, "name of the Service of matryd dns")
	flags.StringVar(&o.ClusterDomain, "cluster-domain", o.ClusterDomain, "DNS domain of the virtual clusters")
	flags.StringVar(&o.Replica, "replica", o.Replica, "name of this replica, which no other process has while this one runs; the name of its pod (default the name of the machine)")
	flags.StringSliceVar(&o.IngressAnnotations, "ingress-annotations", o.IngressAnnotations, "keys of annotations that Ingresses of virtual clusters may have on the host, with any value, beside those that are known to be harmless")
	flags.IntVar(&o.Limits.Namespaces, "tenant-namespaces", o.Limits.Namespaces, "how many namespaces a virtual cluster may have on the host; 0 is no bound")
	flags.IntVar(&o.Limits.Objects, "tenant-objects", o.Limits.Objects, "how many objects a virtual cluster may have on the host; 0 is no bound")
	flags.Int64Var(&o.Limits.Bytes, "tenant-bytes", o.Limits.Bytes, "how large the objects of a virtual cluster on the host may be together; 0 is no bound")
	flags.Int64Var(&o.Memory, "memory", o.Memory, "how many bytes of memory this process may use, as the limit of its container says: near it, it cleans up more often, and of the objects of virtual clusters it keeps as many as take half of it; 0 is no bound")
	flags.StringVar(&o.LogLevel, "log-level", o.LogLevel, "debug, info, warn or error")
	flags.StringVar(&o.FrontDoorListen, "front-door-listen", o.FrontDoorListen, "address of the front door")
	flags.StringVar(&o.KubeletDoorListen, "kubelet-door-listen", o.KubeletDoorListen, "address of the kubelet door")
	flags.StringVar(&o.AddressDoorListen, "address-door-listen", o.AddressDoorListen, "address of the address door")
	flags.StringVar(&o.QuotaWebhookListen, "quota-webhook-listen", o.QuotaWebhookListen, "address of the webhook that makes room in the quotas of accounts")
	flags.StringVar(&o.MetricsListen, "metrics-listen", o.MetricsListen, "address of /metrics; 0 switches it off")
	flags.StringVar(&o.HealthListen, "health-listen", o.HealthListen, "address of /healthz and /readyz")
}

// Config is what the agent runs with: complete and valid.
type Config struct {
	Options
	Host  *rest.Config
	Level slog.Level
}

// Complete fills in what is not given and reports every error at once.
func (o *Options) Complete() (*Config, error) {
	var errs []error
	config := &Config{Options: *o}
	if err := config.Level.UnmarshalText([]byte(o.LogLevel)); err != nil {
		errs = append(errs, fmt.Errorf("--log-level %q must be debug, info, warn or error", o.LogLevel))
	}
	if o.Image == "" {
		errs = append(errs, errors.New("--image is required: the image that the agent itself runs from"))
	}
	for flag, address := range map[string]string{
		"front-door-listen": o.FrontDoorListen, "kubelet-door-listen": o.KubeletDoorListen,
		"address-door-listen": o.AddressDoorListen, "quota-webhook-listen": o.QuotaWebhookListen, "health-listen": o.HealthListen,
	} {
		if _, _, err := net.SplitHostPort(address); err != nil {
			errs = append(errs, fmt.Errorf("--%s %q must be an address such as :8443: %w", flag, address, err))
		}
	}
	if o.Limits.Namespaces < 0 || o.Limits.Objects < 0 || o.Limits.Bytes < 0 {
		errs = append(errs, errors.New("--tenant-namespaces, --tenant-objects and --tenant-bytes must not be negative; 0 is no bound"))
	}
	if o.Memory < 0 {
		errs = append(errs, errors.New("--memory must not be negative; 0 is no bound"))
	}
	if err := config.completeReplica(); err != nil {
		errs = append(errs, err)
	}
	host, err := hostConfig(o.Kubeconfig)
	if err != nil {
		errs = append(errs, err)
	}
	config.Host = host
	return config, errors.Join(errs...)
}

func (c *Config) completeReplica() error {
	if c.Replica == "" {
		name, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("find a name for this replica (or set --replica): %w", err)
		}
		c.Replica = name
	}
	if problems := validation.IsDNS1123Subdomain(c.Replica); len(problems) > 0 || c.Replica == shards.TableName {
		return fmt.Errorf("--replica %q must be a name for a Lease: %s", c.Replica, strings.Join(append(problems, "lower case, and not "+shards.TableName), "; "))
	}
	return nil
}

func hostConfig(kubeconfig string) (*rest.Config, error) {
	config, err := loadConfig(kubeconfig)
	if err != nil {
		return nil, err
	}
	// No fixed rate: the host's own flow control decides how much the agent may ask, and the sync keeps to it; see hostpace.
	config.QPS = -1
	config.UserAgent = "matryoshka-agent"
	return config, nil
}

func loadConfig(kubeconfig string) (*rest.Config, error) {
	if kubeconfig == "" {
		config, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("read the ServiceAccount of the pod (outside of a pod set --kubeconfig): %w", err)
		}
		return config, nil
	}
	if _, err := os.Stat(kubeconfig); err != nil {
		return nil, fmt.Errorf("read --kubeconfig: %w", err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read --kubeconfig %q: %w", kubeconfig, err)
	}
	return config, nil
}
