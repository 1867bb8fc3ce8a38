package virtualcluster

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/virtualcluster/pki"
)

// DoorSecretName is the Secret, in the system namespace, with the authority of the doors.
const DoorSecretName = "door-ca"

// LoadDoorAuthority reads the authority of the doors, which all replicas of the agent share, and makes it when there
// is none.
func LoadDoorAuthority(ctx context.Context, host client.Client, namespace string, now time.Time) (*pki.Authority, error) {
	authority, err := readDoorAuthority(ctx, host, namespace)
	if !apierrors.IsNotFound(err) {
		return authority, err
	}
	made, err := pki.NewAuthority("matryoshka doors", now)
	if err != nil {
		return nil, err
	}
	err = host.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: DoorSecretName},
		Type:       corev1.SecretTypeTLS,
		Data: map[string][]byte{
			corev1.TLSCertKey:       made.CertificatePEM(),
			corev1.TLSPrivateKeyKey: made.KeyPEM(),
		},
	})
	if apierrors.IsAlreadyExists(err) {
		return readDoorAuthority(ctx, host, namespace) // another replica was faster
	}
	if err != nil {
		return nil, fmt.Errorf("create Secret %q: %w", namespace+"/"+DoorSecretName, err)
	}
	return made, nil
}

func readDoorAuthority(ctx context.Context, host client.Client, namespace string) (*pki.Authority, error) {
	var secret corev1.Secret
	if err := host.Get(ctx, client.ObjectKey{Namespace: namespace, Name: DoorSecretName}, &secret); err != nil {
		return nil, fmt.Errorf("get Secret %q: %w", namespace+"/"+DoorSecretName, err)
	}
	authority, err := pki.ParseAuthority(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
	if err != nil {
		return nil, fmt.Errorf("read Secret %q (delete it to have it made anew, then restart the agent): %w", namespace+"/"+DoorSecretName, err)
	}
	return authority, nil
}
