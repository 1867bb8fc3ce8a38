package controlplane

import (
	"k8s.io/kubernetes/cmd/kube-apiserver/app/options"

	"github.com/matryoshka-dev/matryoshka/internal/controlplane/config"
	"github.com/matryoshka-dev/matryoshka/internal/controlplane/door"
	"github.com/matryoshka-dev/matryoshka/internal/controlplane/serviceaddress"
)

// setAdmission switches NodeRestriction on beside the default plugins, and our own when there is a host to ask.
func setAdmission(o *options.ServerRunOptions, addresses serviceaddress.Reserver) error {
	admission := o.Admission.GenericAdmission
	admission.EnablePlugins = []string{"NodeRestriction"}
	if addresses == nil {
		return nil
	}
	order, err := serviceaddress.Order(admission.RecommendedPluginOrder)
	if err != nil {
		return err
	}
	admission.RecommendedPluginOrder = order
	serviceaddress.Register(admission.Plugins, addresses)
	return nil
}

func addressDoor(c config.ControlPlane) door.Dialer {
	return door.Dialer{Address: c.Doors.ServiceAddress, ServerName: c.Doors.ServerName, PKIDirectory: c.PKIDirectory}
}

func kubeletDoor(c config.ControlPlane) door.Dialer {
	return door.Dialer{Address: c.Doors.KubeletAddress, ServerName: c.Doors.ServerName, PKIDirectory: c.PKIDirectory}
}
