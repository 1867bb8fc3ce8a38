package pod_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// testReferences: what a pod refers to goes down before it, follows the tenant's changes and goes when nobody refers to it.
func testReferences(t *testing.T, w *world) {
	namespace := w.namespace(t, "references")
	hostNamespace := mapping.HostNamespace(tenantID, namespace)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "password"}, StringData: map[string]string{"p": "one"}}
	create(t, w.tenant, secret)
	virtualPod := newPod(namespace, "web")
	optional := true
	virtualPod.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{
		{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}}},
		{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "password"}}},
		{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "perhaps"}, Optional: &optional}},
	}
	create(t, w.tenant, virtualPod)
	w.eventOn(t, virtualPod, "Waiting")
	settings := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "settings"}, Data: map[string]string{"a": "1"}}
	create(t, w.tenant, settings)
	hostPod := w.hostPod(t, virtualPod)

	hostSettings, hostSecret, hostPerhaps := &corev1.ConfigMap{}, &corev1.Secret{}, &corev1.Secret{}
	for name, object := range map[string]client.Object{"settings": hostSettings, "password": hostSecret, "perhaps": hostPerhaps} {
		if err := w.host.Get(t.Context(), client.ObjectKey{Namespace: hostNamespace, Name: name}, object); err != nil {
			t.Fatalf("the host pod is there before what it refers to: %v", err)
		}
	}
	if hostSettings.Data["a"] != "1" || string(hostSecret.Data["p"]) != "one" || len(hostPerhaps.Data) != 0 {
		t.Errorf("contents: %v, %d and %d keys", hostSettings.Data, len(hostSecret.Data), len(hostPerhaps.Data))
	}
	settings.Data = map[string]string{"b": "2"}
	if err := w.tenant.Update(t.Context(), settings); err != nil {
		t.Fatal(err)
	}
	create(t, w.tenant, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "perhaps"}, StringData: map[string]string{"now": "yes"}})
	eventually(t, "changes are on the host", func(ctx context.Context) error {
		if err := w.host.Get(ctx, client.ObjectKeyFromObject(hostSettings), hostSettings); err != nil {
			return err
		}
		if err := w.host.Get(ctx, client.ObjectKeyFromObject(hostPerhaps), hostPerhaps); err != nil {
			return err
		}
		if hostSettings.Data["b"] != "2" || hostSettings.Data["a"] != "" || string(hostPerhaps.Data["now"]) != "yes" {
			return fmt.Errorf("contents: %v, %d keys", hostSettings.Data, len(hostPerhaps.Data))
		}
		return nil
	})
	for _, object := range []client.Object{settings, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "perhaps"}}} {
		if err := w.tenant.Delete(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "what is optional is emptied, what is required stays", func(ctx context.Context) error {
		if err := w.host.Get(ctx, client.ObjectKeyFromObject(hostSettings), hostSettings); err != nil {
			return err
		}
		if err := w.host.Get(ctx, client.ObjectKeyFromObject(hostPerhaps), hostPerhaps); err != nil {
			return err
		}
		if hostSettings.Data["b"] != "2" || len(hostPerhaps.Data) != 0 {
			return fmt.Errorf("contents: %v, %d keys", hostSettings.Data, len(hostPerhaps.Data))
		}
		return nil
	})
	w.restart(t)
	w.eventuallyQuiet(t)
	if err := w.tenant.Delete(t.Context(), virtualPod, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	w.gone(t, w.host, hostSettings)
	w.gone(t, w.host, hostSecret)
	w.gone(t, w.host, hostPod)
}

// testLostCopies: what somebody removed on the host comes back when a pod waits for it, and no pod is ended for it.
func testLostCopies(t *testing.T, w *world) {
	namespace := w.namespace(t, "lost")
	create(t, w.tenant, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "password"}, StringData: map[string]string{"p": "one"}})
	virtualPod := newPod(namespace, "web")
	virtualPod.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "password"}}}}
	create(t, w.tenant, virtualPod)
	hostPod := w.hostPod(t, virtualPod)
	bundle := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: hostPod.Namespace, Name: "matryoshka-pod-" + string(virtualPod.UID)}}
	password := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: hostPod.Namespace, Name: "password"}}
	for _, secret := range []*corev1.Secret{bundle, password} {
		eventually(t, "secret "+secret.Name, func(ctx context.Context) error { return w.host.Get(ctx, client.ObjectKeyFromObject(secret), secret) })
		if err := w.host.Delete(t.Context(), secret); err != nil {
			t.Fatal(err)
		}
	}
	w.schedule(t, hostPod)
	w.advance(time.Minute)
	defer w.advance(-time.Minute)
	if err := w.host.Get(t.Context(), client.ObjectKeyFromObject(hostPod), hostPod); err != nil {
		t.Fatal(err)
	}
	hostPod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "main", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}}}}
	if err := w.host.Status().Update(t.Context(), hostPod); err != nil {
		t.Fatal(err)
	}
	for _, secret := range []*corev1.Secret{bundle, password} {
		eventually(t, "secret "+secret.Name+" is back", func(ctx context.Context) error { return w.host.Get(ctx, client.ObjectKeyFromObject(secret), secret) })
	}
	if string(password.Data["p"]) != "one" || len(bundle.Data["token-0"]) < 100 {
		t.Error("the secrets came back empty")
	}
}

// testForeignReference: a name that the host uses for something else is never mounted.
func testForeignReference(t *testing.T, w *world) {
	namespace := w.namespace(t, "foreign-reference")
	w.running(t, newPod(namespace, "first"))
	hostNamespace := mapping.HostNamespace(tenantID, namespace)
	create(t, w.host, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: hostNamespace, Name: "of-the-host"}, StringData: map[string]string{"key": "secret"}})
	optional := true
	virtualPod := newPod(namespace, "thief")
	virtualPod.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{
		Secret: &corev1.SecretVolumeSource{SecretName: "of-the-host", Optional: &optional},
	}}}
	create(t, w.tenant, virtualPod)
	w.eventOn(t, virtualPod, "NameTaken")
	if err := w.host.Get(t.Context(), hostKey(virtualPod), &corev1.Pod{}); client.IgnoreNotFound(err) != nil || err == nil {
		t.Errorf("the pod is on the host (%v)", err)
	}
}

// testToken: the pod's token is the tenant's own, its CA the tenant's, and it is made anew at half of its life.
func testToken(t *testing.T, w *world) {
	namespace := w.namespace(t, "token")
	virtualPod := newPod(namespace, "web")
	life := int64(600)
	virtualPod.Spec.Volumes = []corev1.Volume{{Name: "t", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
		Sources: []corev1.VolumeProjection{{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Audience: "vault", ExpirationSeconds: &life, Path: "vault"}}},
	}}}}
	virtualPod, hostPod := w.running(t, virtualPod)
	bundle := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: hostPod.Namespace, Name: "matryoshka-pod-" + string(virtualPod.UID)}}
	read := func(ctx context.Context) error { return w.host.Get(ctx, client.ObjectKeyFromObject(bundle), bundle) }
	eventually(t, "the pod's secret", read)
	if len(bundle.OwnerReferences) != 1 || bundle.OwnerReferences[0].UID != hostPod.UID {
		t.Errorf("owner of the pod's secret: %+v", bundle.OwnerReferences)
	}
	if string(bundle.Data["ca.crt"]) != "-----the CA-----" {
		t.Errorf("the CA is %q", bundle.Data["ca.crt"])
	}
	tokens := 0
	for _, value := range bundle.Data {
		if len(value) > 100 {
			tokens++
		}
	}
	if tokens != 2 { // the API's, which admission adds, and the one asked for
		t.Errorf("the pod's secret has %d tokens, want 2", tokens)
	}
	before := string(bundle.Data["token-0"])
	for _, volume := range hostPod.Spec.Volumes {
		if volume.Projected == nil {
			continue
		}
		for _, source := range volume.Projected.Sources {
			if source.ServiceAccountToken != nil {
				t.Error("the host pod asks for a token of the host")
			}
		}
	}
	w.restart(t)
	w.eventuallyQuiet(t)
	if err := read(t.Context()); err != nil || string(bundle.Data["token-0"]) != before {
		t.Fatalf("a restart made the token anew before its time (%v)", err)
	}
	w.advance(6 * time.Minute)
	defer w.advance(-6 * time.Minute)
	w.restart(t)
	eventually(t, "new token after half of its life", func(ctx context.Context) error {
		if err := read(ctx); err != nil {
			return err
		}
		if string(bundle.Data["token-1"]) == before || string(bundle.Data["token-0"]) == before {
			return fmt.Errorf("it is the old one")
		}
		return nil
	})
}

// testChanges: labels and images go down, readiness gates go down, and the host's own Ready is never overwritten.
func testChanges(t *testing.T, w *world) {
	namespace := w.namespace(t, "changes")
	virtualPod := newPod(namespace, "web")
	virtualPod.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: "example.test/gate"}}
	virtualPod, hostPod := w.running(t, virtualPod)

	virtualPod.Labels["color"] = "green"
	delete(virtualPod.Labels, "app")
	virtualPod.Spec.Containers[0].Image = "example.test/app:2"
	if err := w.tenant.Update(t.Context(), virtualPod); err != nil {
		t.Fatal(err)
	}
	virtualPod.Status.Conditions = append(virtualPod.Status.Conditions, corev1.PodCondition{Type: "example.test/gate", Status: corev1.ConditionTrue})
	if err := w.tenant.Status().Update(t.Context(), virtualPod); err != nil {
		t.Fatal(err)
	}
	eventually(t, "changes are on the host", func(ctx context.Context) error {
		if err := w.host.Get(ctx, client.ObjectKeyFromObject(hostPod), hostPod); err != nil {
			return err
		}
		_, hasOld := hostPod.Labels["app"]
		hasGate := false
		for _, condition := range hostPod.Status.Conditions {
			hasGate = hasGate || condition.Type == "example.test/gate" && condition.Status == corev1.ConditionTrue
		}
		if hostPod.Labels["color"] != "green" || hasOld || hostPod.Spec.Containers[0].Image != "example.test/app:2" || !hasGate {
			return fmt.Errorf("labels %v, image %s, conditions %+v", hostPod.Labels, hostPod.Spec.Containers[0].Image, hostPod.Status.Conditions)
		}
		return nil
	})
	if !isReady(hostPod) {
		t.Error("the host pod's own Ready was overwritten")
	}
	if hostPod.Labels[mapping.LabelUID] != string(tenantUID) {
		t.Error("the host pod lost its owner's label")
	}
}

// testReadyBeforeBinding: a host pod that is Ready before the tenant's pod is bound keeps its Ready.
func testReadyBeforeBinding(t *testing.T, w *world) {
	namespace := w.namespace(t, "early")
	virtualPod := newPod(namespace, "web")
	create(t, w.tenant, virtualPod)
	hostPod := w.hostPod(t, virtualPod)
	w.stop()
	w.schedule(t, hostPod)
	w.kubelet(t, hostPod, corev1.PodRunning)
	w.start(t)
	w.virtualPod(t, virtualPod, "ready", isReady)
	w.eventuallyQuiet(t)
	if err := w.host.Get(t.Context(), client.ObjectKeyFromObject(hostPod), hostPod); err != nil {
		t.Fatal(err)
	}
	if !isReady(hostPod) {
		t.Error("the host pod's Ready was overwritten by the tenant's")
	}
}

// testNodes: mirrors have no taint of admission's, their conditions say since when they are so, and a tenant's own node is left alone.
func testNodes(t *testing.T, w *world) {
	own := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "my-own"}}
	create(t, w.tenant, own)
	eventually(t, "mirror is ready and schedulable", func(ctx context.Context) error {
		mirror := &corev1.Node{}
		if err := w.tenant.Get(ctx, client.ObjectKey{Name: nodeName}, mirror); err != nil {
			return err
		}
		if len(mirror.Spec.Taints) != 0 || len(mirror.Status.Conditions) != 1 || mirror.Status.DaemonEndpoints.KubeletEndpoint.Port != 10250 {
			return fmt.Errorf("taints %v, status %+v", mirror.Spec.Taints, mirror.Status)
		}
		if ready := mirror.Status.Conditions[0]; ready.LastTransitionTime.IsZero() || ready.LastHeartbeatTime.IsZero() {
			return fmt.Errorf("the condition %+v does not say since when it is so", ready)
		}
		return nil
	})
	w.restart(t)
	w.eventuallyQuiet(t)
	if err := w.tenant.Get(t.Context(), client.ObjectKeyFromObject(own), own); err != nil {
		t.Errorf("the tenant's own node is gone: %v", err)
	}
}

// testQuiet: a second look at everything writes nothing.
func testQuiet(t *testing.T, w *world) {
	namespace := w.namespace(t, "quiet")
	virtualPod, hostPod := w.running(t, newPod(namespace, "web"))
	w.eventuallyQuiet(t)
	versions := func() [3]string {
		virtualNode, hostNamespace := &corev1.Node{}, &corev1.Namespace{}
		for _, read := range []error{
			w.tenant.Get(t.Context(), client.ObjectKeyFromObject(virtualPod), virtualPod),
			w.host.Get(t.Context(), client.ObjectKeyFromObject(hostPod), hostPod),
			w.tenant.Get(t.Context(), client.ObjectKey{Name: nodeName}, virtualNode),
			w.host.Get(t.Context(), client.ObjectKey{Name: hostPod.Namespace}, hostNamespace),
		} {
			if read != nil {
				t.Fatal(read)
			}
		}
		return [3]string{virtualPod.ResourceVersion + "/" + hostPod.ResourceVersion, virtualNode.ResourceVersion, hostNamespace.ResourceVersion}
	}
	before := versions()
	w.restart(t)
	w.eventuallyQuiet(t)
	if after := versions(); after != before {
		t.Errorf("a restart wrote something: versions %v, before %v", after, before)
	}
}
