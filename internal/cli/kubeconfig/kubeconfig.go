// Package kubeconfig reads the kubeconfig of a virtual cluster from the host, prints it, and merges it into the user's
// own.
//
// Its invariants: a file with credentials is never readable by others; merging touches only the three entries of the
// virtual cluster, keeps the namespace that the user has chosen in its context, and changes the current context only
// when asked.
package kubeconfig

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
	"github.com/matryoshka-dev/matryoshka/internal/cli/virtualcluster"
)

// callTimeout bounds a single call of the host's API.
const callTimeout = 30 * time.Second

// secretKey is the key of the Secret that holds the kubeconfig.
const secretKey = "config"

// ContextName is the name of a virtual cluster in the user's kubeconfig. Names of objects have no '_', so it can be
// taken apart again.
func ContextName(key client.ObjectKey) string {
	return "matryoshka_" + key.Namespace + "_" + key.Name
}

// Get reads the administrator's kubeconfig of a virtual cluster. It has one context, named by ContextName.
func Get(ctx context.Context, hostClient client.Reader, key client.ObjectKey) (*clientcmdapi.Config, error) {
	vc, err := virtualcluster.Kind.Get(ctx, hostClient, key)
	if err != nil {
		return nil, err
	}
	waitNext := fmt.Sprintf("`matry describe virtualcluster %s -n %s` shows what it waits for", key.Name, key.Namespace)
	if vc.DeletionTimestamp != nil {
		return nil, &exit.Error{Code: exit.NotFound, Err: fmt.Errorf("virtual cluster %q is being deleted and has no kubeconfig any more", key), Next: waitNext}
	}
	if vc.Status.KubeconfigSecret == "" {
		return nil, &exit.Error{Code: exit.Failed, Err: fmt.Errorf("virtual cluster %q has no kubeconfig yet", key), Next: waitNext}
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	secret := &corev1.Secret{}
	secretName := client.ObjectKey{Namespace: key.Namespace, Name: vc.Status.KubeconfigSecret}
	if err := hostClient.Get(ctx, secretName, secret); err != nil {
		err = fmt.Errorf("get secret %q with the kubeconfig of virtual cluster %q: %w", secretName, key, err)
		if apierrors.IsNotFound(err) {
			return nil, exit.WithNext(err, "%s", waitNext)
		}
		return nil, err
	}
	config, err := clientcmd.Load(secret.Data[secretKey])
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig in secret %q: %w", secretName, err)
	}
	return single(config, ContextName(key))
}

// single reduces a kubeconfig to its current context and gives that and what it refers to one name.
func single(config *clientcmdapi.Config, name string) (*clientcmdapi.Config, error) {
	current := config.Contexts[config.CurrentContext]
	if current == nil {
		return nil, fmt.Errorf("the kubeconfig has no current context")
	}
	cluster, user := config.Clusters[current.Cluster], config.AuthInfos[current.AuthInfo]
	if cluster == nil || user == nil {
		return nil, fmt.Errorf("context %q of the kubeconfig names a cluster or a user that is not in it", config.CurrentContext)
	}
	result := clientcmdapi.NewConfig()
	result.Clusters[name], result.AuthInfos[name] = cluster.DeepCopy(), user.DeepCopy()
	context := clientcmdapi.NewContext()
	context.Cluster, context.AuthInfo, context.Namespace = name, name, current.Namespace
	result.Contexts[name] = context
	result.CurrentContext = name
	return result, nil
}

// Merge writes the one context of config into the user's kubeconfig, under clientcmd's lock of that file.
func Merge(access clientcmd.ConfigAccess, config *clientcmdapi.Config, setCurrent bool) error {
	name := config.CurrentContext
	users, err := access.GetStartingConfig()
	if err != nil {
		return fmt.Errorf("read your kubeconfig: %w", err)
	}
	context := config.Contexts[name].DeepCopy()
	if old := users.Contexts[name]; old != nil {
		if old.Namespace != "" {
			context.Namespace = old.Namespace
		}
		context.Extensions, context.LocationOfOrigin = old.Extensions, old.LocationOfOrigin
	}
	users.Contexts[name] = context
	users.Clusters[name], users.AuthInfos[name] = config.Clusters[name], config.AuthInfos[name]
	if setCurrent {
		users.CurrentContext = name
	}
	if err := clientcmd.ModifyConfig(access, *users, true); err != nil {
		return fmt.Errorf("write your kubeconfig: %w", err)
	}
	return nil
}

// WriteFile replaces a file with the kubeconfig, readable by its owner only, whatever it was before.
func WriteFile(path string, config *clientcmdapi.Config) error {
	content, err := clientcmd.Write(*config)
	if err != nil {
		return fmt.Errorf("encode the kubeconfig: %w", err)
	}
	// CreateTemp makes the file with mode 0600.
	next, err := os.CreateTemp(filepath.Dir(path), ".kubeconfig-*")
	if err != nil {
		return fmt.Errorf("write kubeconfig %q: %w", path, err)
	}
	_, writeErr := next.Write(content)
	if err := errors.Join(writeErr, next.Close()); err != nil {
		return fmt.Errorf("write kubeconfig %q: %w", path, errors.Join(err, os.Remove(next.Name())))
	}
	if err := os.Rename(next.Name(), path); err != nil {
		return fmt.Errorf("write kubeconfig %q: %w", path, errors.Join(err, os.Remove(next.Name())))
	}
	return nil
}
