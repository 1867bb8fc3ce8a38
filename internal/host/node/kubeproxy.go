package node

import (
	"context"
	"fmt"
	"os"

	kubeproxy "k8s.io/kubernetes/cmd/kube-proxy/app"

	"github.com/matryoshka-dev/matryoshka/internal/host/network"
	"github.com/matryoshka-dev/matryoshka/internal/host/pki"
)

// proxyConfig leaves the connection tracking table as the machine has it: its size is the machine's, and often read-only.
const proxyConfig = `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
hostnameOverride: %q
bindAddress: %q
clusterCIDR: %q
detectLocalMode: ClusterCIDR
nodePortAddresses: [%q]
healthzBindAddress: ""
metricsBindAddress: ""
clientConnection:
  kubeconfig: %q
conntrack:
  maxPerCore: 0
  min: 0
  tcpEstablishedTimeout: 0s
  tcpCloseWaitTimeout: 0s
nftables:
  minSyncPeriod: 50ms
  syncPeriod: 30s
`

func runKubeProxy(ctx context.Context, node place, files pki.Files) error {
	address := node.address.String()
	content := fmt.Sprintf(proxyConfig, node.name, address, network.PodRange, address+"/32", files.Kubeconfig(pki.KubeProxy))
	path := node.layout.Run("kube-proxy.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		return fmt.Errorf("write the configuration of kube-proxy: %w", err)
	}
	// Its options are not exported; its command, unlike the others', handles no signals.
	command := kubeproxy.NewProxyCommand()
	command.SilenceErrors, command.SilenceUsage = true, true
	command.SetArgs([]string{"--config=" + path})
	ended := make(chan error, 1)
	go func() { ended <- command.ExecuteContext(ctx) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		// It takes no context: it ends with the process, which is about to.
		return nil
	}
}
