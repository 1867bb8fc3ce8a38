package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	storagelisters "k8s.io/client-go/listers/storage/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
)

// Provisioner makes and removes volumes.
type Provisioner struct {
	folder   string
	nodeName string
	client   kubernetes.Interface
	logger   *slog.Logger
	factory  informers.SharedInformerFactory
	claims   corelisters.PersistentVolumeClaimLister
	volumes  corelisters.PersistentVolumeLister
	classes  storagelisters.StorageClassLister
	queue    workqueue.TypedRateLimitingInterface[item]
	events   record.EventBroadcaster
	recorder record.EventRecorder
}

// item is a claim (with a namespace) or a volume (without).
type item struct{ namespace, name string }

// New returns a provisioner that keeps volumes below folder, for pods on the node of this name.
func New(client kubernetes.Interface, folder, nodeName string, logger *slog.Logger) (*Provisioner, error) {
	p := &Provisioner{
		folder: folder, nodeName: nodeName, client: client, logger: logger,
		factory: informers.NewSharedInformerFactory(client, 0),
		queue: workqueue.NewTypedRateLimitingQueue(
			workqueue.NewTypedItemExponentialFailureRateLimiter[item](50*time.Millisecond, time.Minute)),
		events: record.NewBroadcaster(),
	}
	p.claims = p.factory.Core().V1().PersistentVolumeClaims().Lister()
	p.volumes = p.factory.Core().V1().PersistentVolumes().Lister()
	p.classes = p.factory.Storage().V1().StorageClasses().Lister()
	p.recorder = p.events.NewRecorder(scheme.Scheme, corev1.EventSource{Component: provisionerName})
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc:    p.enqueue,
		UpdateFunc: func(_, current any) { p.enqueue(current) },
	}
	for _, informer := range []cache.SharedIndexInformer{
		p.factory.Core().V1().PersistentVolumeClaims().Informer(),
		p.factory.Core().V1().PersistentVolumes().Informer(),
	} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return nil, fmt.Errorf("watch for the local provisioner: %w", err)
		}
	}
	return p, nil
}

func (p *Provisioner) enqueue(object any) {
	switch o := object.(type) {
	case *corev1.PersistentVolumeClaim:
		p.queue.Add(item{o.Namespace, o.Name})
	case *corev1.PersistentVolume:
		p.queue.Add(item{"", o.Name})
	}
}

// Run makes the StorageClass and serves claims until ctx ends; onReady is called once when it is able to.
func (p *Provisioner) Run(ctx context.Context, onReady func() error) error {
	// Volumes are open to all users in their pods, and so must not be reached on the machine: not even by name.
	if err := errors.Join(os.MkdirAll(p.folder, 0o700), os.Chmod(p.folder, 0o700)); err != nil {
		return fmt.Errorf("make the folder of volumes: %w", err)
	}
	if err := p.ensureClass(ctx); err != nil {
		return err
	}
	p.events.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: p.client.CoreV1().Events("")})
	defer p.events.Shutdown()
	p.factory.Start(ctx.Done())
	defer p.factory.Shutdown()
	for kind, synced := range p.factory.WaitForCacheSync(ctx.Done()) {
		if !synced && ctx.Err() == nil {
			return fmt.Errorf("list %s for the local provisioner", kind)
		}
	}
	if err := onReady(); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, p.queue.ShutDown)
	defer stop()
	for p.next(ctx) {
	}
	return nil
}

func (p *Provisioner) next(ctx context.Context) bool {
	it, shutdown := p.queue.Get()
	if shutdown {
		return false
	}
	defer p.queue.Done(it)
	err := p.handle(ctx, it)
	switch {
	case err == nil, apierrors.IsNotFound(err):
		p.queue.Forget(it)
	case apierrors.IsConflict(err):
		p.queue.AddRateLimited(it)
	default:
		p.logger.Warn("Could not handle a volume", "namespace", it.namespace, "name", it.name, "error", err)
		p.queue.AddRateLimited(it)
	}
	return true
}

func (p *Provisioner) handle(ctx context.Context, it item) error {
	if it.namespace == "" {
		volume, err := p.volumes.Get(it.name)
		if err != nil {
			return err
		}
		return p.reclaim(ctx, volume)
	}
	claim, err := p.claims.PersistentVolumeClaims(it.namespace).Get(it.name)
	if err != nil {
		return err
	}
	return p.provision(ctx, claim)
}

// ensureClass makes the StorageClass when there is none. One that is there may have been changed by an administrator, in ways
// that cannot be changed back, and is left alone.
func (p *Provisioner) ensureClass(ctx context.Context) error {
	_, err := p.client.StorageV1().StorageClasses().Get(ctx, ClassName, metav1.GetOptions{})
	if err == nil {
		return nil
	}
	if !apierrors.IsNotFound(err) {
		return fmt.Errorf("get the StorageClass %q: %w", ClassName, err)
	}
	policy, mode := corev1.PersistentVolumeReclaimDelete, storagev1.VolumeBindingImmediate
	class := &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{
			Name:        ClassName,
			Annotations: map[string]string{"storageclass.kubernetes.io/is-default-class": "true"},
		},
		Provisioner: provisionerName, ReclaimPolicy: &policy, VolumeBindingMode: &mode,
	}
	_, err = p.client.StorageV1().StorageClasses().Create(ctx, class, metav1.CreateOptions{FieldManager: provisionerName})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create the StorageClass %q: %w", ClassName, err)
	}
	return nil
}

// provision makes the folder and the volume of a claim that waits for one.
func (p *Provisioner) provision(ctx context.Context, claim *corev1.PersistentVolumeClaim) error {
	if claim.DeletionTimestamp != nil || claim.Spec.VolumeName != "" || claim.Spec.StorageClassName == nil {
		return nil
	}
	class, err := p.classes.Get(*claim.Spec.StorageClassName)
	if err != nil {
		return err
	}
	if class.Provisioner != provisionerName || !p.isOurTurn(claim, class) {
		return nil
	}
	if reason := unsupported(claim); reason != "" {
		p.recorder.Event(claim, corev1.EventTypeWarning, "ProvisioningFailed", reason)
		return nil
	}
	volume := newVolume(claim, class, p.folder, p.nodeName)
	if err := makeFolder(volume.Spec.Local.Path); err != nil {
		return err
	}
	if _, err := p.client.CoreV1().PersistentVolumes().Create(ctx, volume, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create the volume of claim %s/%s: %w", claim.Namespace, claim.Name, err)
	}
	return nil
}

// isOurTurn waits, for classes that an administrator made for binding with the first pod, until the scheduler has chosen.
func (p *Provisioner) isOurTurn(claim *corev1.PersistentVolumeClaim, class *storagev1.StorageClass) bool {
	if class.VolumeBindingMode == nil || *class.VolumeBindingMode == storagev1.VolumeBindingImmediate {
		return true
	}
	return claim.Annotations["volume.kubernetes.io/selected-node"] == p.nodeName
}

// reclaim removes a volume that nobody uses any more.
func (p *Provisioner) reclaim(ctx context.Context, volume *corev1.PersistentVolume) error {
	if !isOurs(volume, p.folder) || !isReclaimable(volume) {
		return nil
	}
	if volume.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete {
		if err := removeFolder(volume.Spec.Local.Path); err != nil {
			p.recorder.Event(volume, corev1.EventTypeWarning, "VolumeFailedDelete", err.Error())
			return err
		}
	}
	if volume.DeletionTimestamp == nil {
		options := metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &volume.UID}}
		if err := p.client.CoreV1().PersistentVolumes().Delete(ctx, volume.Name, options); err != nil {
			return err
		}
	}
	return p.release(ctx, volume.Name)
}

// release takes our finalizer off, so that the volume can go.
func (p *Provisioner) release(ctx context.Context, name string) error {
	volume, err := p.client.CoreV1().PersistentVolumes().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	kept := withoutFinalizer(volume.Finalizers)
	if len(kept) == len(volume.Finalizers) {
		return nil
	}
	volume.Finalizers = kept
	_, err = p.client.CoreV1().PersistentVolumes().Update(ctx, volume, metav1.UpdateOptions{})
	return err
}

// makeFolder gives every user access, as an empty volume of a cloud with fsGroup would: pods seldom run as root, and what
// keeps others out is the folder above it.
func makeFolder(path string) error {
	if err := os.Mkdir(path, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make the folder of a volume: %w", err)
	}
	// The process' umask has cut the mode.
	if err := os.Chmod(path, 0o777); err != nil {
		return fmt.Errorf("open the folder of a volume to all users: %w", err)
	}
	return nil
}

// removeFolder first moves the folder away: what is half removed must not be taken for a volume.
func removeFolder(path string) error {
	gone := path + ".deleted"
	if err := os.Rename(path, gone); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the volume %s: %w", filepath.Base(path), err)
	}
	if err := os.RemoveAll(gone); err != nil {
		return fmt.Errorf("remove the volume %s: %w", filepath.Base(path), err)
	}
	return nil
}
