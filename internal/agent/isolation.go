package agent

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/matryoshka-dev/matryoshka/internal/networkisolation"
	"github.com/matryoshka-dev/matryoshka/internal/virtualcluster"
)

// addIsolation has every replica find out whether the host enforces NetworkPolicies.
func (a *agent) addIsolation() error {
	a.isolation = &networkisolation.Prober{
		Host: a.host, Namespace: a.config.Namespace, Labels: map[string]string{virtualcluster.LabelApp: a.config.DNSService},
		Log: a.log.With("part", "networkisolation"),
	}
	if err := a.manager.Add(a.isolation); err != nil {
		return fmt.Errorf("add the probe of NetworkPolicies: %w", err)
	}
	return nil
}

func (a *agent) networkIsolation() (status metav1.ConditionStatus, reason, message string) {
	answer := a.isolation.Answer()
	return answer.Status, answer.Reason, answer.Message
}
