package node

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/pflag"
	kerrors "k8s.io/apimachinery/pkg/util/errors"
	cliflag "k8s.io/component-base/cli/flag"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	apiserveroptions "k8s.io/kubernetes/cmd/kube-apiserver/app/options"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	controlleroptions "k8s.io/kubernetes/cmd/kube-controller-manager/app/options"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	scheduleroptions "k8s.io/kubernetes/cmd/kube-scheduler/app/options"

	"github.com/matryoshka-dev/matryoshka/internal/host/control"
	"github.com/matryoshka-dev/matryoshka/internal/host/network"
	"github.com/matryoshka-dev/matryoshka/internal/host/pki"
)

// The commands of the components cannot be used: each installs a signal handler, and upstream allows one per process.

func apiServerFlags(layout control.Layout, files pki.Files) []string {
	return []string{
		"--advertise-address=" + network.NodeAddress.String(),
		"--bind-address=" + network.NodeAddress.String(),
		"--secure-port=" + strconv.Itoa(network.APIPort),
		"--service-cluster-ip-range=" + network.ServiceRange.String(),
		"--etcd-servers=unix://" + datastoreSocket(layout),
		"--cert-dir=" + layout.Data("pki"),
		"--client-ca-file=" + files.CA(),
		"--tls-cert-file=" + files.APIServerCert(),
		"--tls-private-key-file=" + files.APIServerKey(),
		"--service-account-issuer=https://kubernetes.default.svc." + ClusterDomain,
		"--service-account-key-file=" + files.ServiceAccountKey(),
		"--service-account-signing-key-file=" + files.ServiceAccountKey(),
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--allow-privileged=true",
		"--kubelet-certificate-authority=" + files.CA(),
		"--kubelet-client-certificate=" + files.KubeletClientCert(),
		"--kubelet-client-key=" + files.KubeletClientKey(),
		// Node names are in no DNS.
		"--kubelet-preferred-address-types=InternalIP",
		"--requestheader-client-ca-file=" + files.FrontProxyCA(),
		"--requestheader-allowed-names=front-proxy-client",
		"--requestheader-username-headers=X-Remote-User",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + files.FrontProxyCert(),
		"--proxy-client-key-file=" + files.FrontProxyKey(),
		"--profiling=false",
	}
}

func runAPIServer(ctx context.Context, layout control.Layout, files pki.Files) error {
	options := apiserveroptions.NewServerRunOptions()
	if err := parse("kube-apiserver", options.Flags(), apiServerFlags(layout, files)); err != nil {
		return err
	}
	if err := options.GenericServerRunOptions.ComponentGlobalsRegistry.Set(); err != nil {
		return fmt.Errorf("set the feature gates: %w", err)
	}
	completed, err := options.Complete(ctx)
	if err != nil {
		return fmt.Errorf("complete the options of kube-apiserver: %w", err)
	}
	if errs := completed.Validate(); len(errs) > 0 {
		return fmt.Errorf("options of kube-apiserver: %w", kerrors.NewAggregate(errs))
	}
	return apiserver.Run(ctx, completed)
}

func controllerFlags(files pki.Files) []string {
	return []string{
		"--kubeconfig=" + files.Kubeconfig(pki.ControllerManager),
		"--leader-elect=false",
		"--secure-port=0",
		"--allocate-node-cidrs=true",
		"--cluster-cidr=" + network.PodRange.String(),
		"--node-cidr-mask-size=" + strconv.Itoa(network.NodePods.Bits()),
		"--service-cluster-ip-range=" + network.ServiceRange.String(),
		"--cluster-signing-cert-file=" + files.CA(),
		"--cluster-signing-key-file=" + files.CAKey(),
		"--root-ca-file=" + files.CA(),
		"--service-account-private-key-file=" + files.ServiceAccountKey(),
		"--use-service-account-credentials=false",
		// These two would take over the CSI plugin of the kubelet, which is one per process, and the kubelet then never gets
		// its node Ready. Folders are neither attached nor resized.
		"--controllers=*,-persistentvolume-attach-detach-controller,-persistentvolume-expander-controller",
		"--controller-shutdown-timeout=1s",
		"--kube-api-qps=200",
		"--kube-api-burst=400",
		"--profiling=false",
	}
}

func runControllers(ctx context.Context, files pki.Files) error {
	options, err := controlleroptions.NewKubeControllerManagerOptions()
	if err != nil {
		return fmt.Errorf("make the options of kube-controller-manager: %w", err)
	}
	known, disabled, aliases := controllers.KnownControllers(), controllers.ControllersDisabledByDefault(), controllers.ControllerAliases()
	flags := options.Flags(known, disabled, aliases)
	options.ParsedFlags = &flags
	if err := parse("kube-controller-manager", flags, controllerFlags(files)); err != nil {
		return err
	}
	config, err := options.Config(ctx, known, disabled, aliases)
	if err != nil {
		return fmt.Errorf("options of kube-controller-manager: %w", err)
	}
	return controllers.Run(ctx, config.Complete())
}

func runScheduler(ctx context.Context, files pki.Files) error {
	options := scheduleroptions.NewOptions()
	err := parse("kube-scheduler", *options.Flags, []string{
		"--kubeconfig=" + files.Kubeconfig(pki.Scheduler),
		"--leader-elect=false",
		"--secure-port=0",
		"--kube-api-qps=200",
		"--kube-api-burst=400",
		"--profiling=false",
	})
	if err != nil {
		return err
	}
	config, instance, err := scheduler.Setup(ctx, options)
	if err != nil {
		return fmt.Errorf("options of kube-scheduler: %w", err)
	}
	return scheduler.Run(ctx, config, instance)
}

func parse(component string, sets cliflag.NamedFlagSets, args []string) error {
	all := pflag.NewFlagSet(component, pflag.ContinueOnError)
	for _, set := range sets.FlagSets {
		all.AddFlagSet(set)
	}
	if err := all.Parse(args); err != nil {
		return fmt.Errorf("flags of %s: %w", component, err)
	}
	return nil
}
