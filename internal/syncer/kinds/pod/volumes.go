package pod

import (
	"fmt"
	"sort"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// rootCAConfigMap is what the tenant's own controller puts into every namespace, and the host's too.
const rootCAConfigMap = "kube-root-ca.crt"

// defaultTokenSeconds is the life of a token for which the pod asks nothing.
const defaultTokenSeconds = 3600

// bundle says what the pod's own host Secret must hold: tokens, and fields that the host pod would answer differently.
// The keys are file names in that Secret.
type bundle struct {
	tokens []tokenFile
	fields []fieldFile
	rootCA bool
}

type tokenFile struct {
	key      string
	audience string
	seconds  int64
}

type fieldFile struct {
	key  string
	path string
}

// rootCAKey is the bundle's key of the CA bundle.
const rootCAKey = "ca.crt"

func (b bundle) empty() bool { return len(b.tokens) == 0 && len(b.fields) == 0 && !b.rootCA }

// bundleName is the name of a pod's own host Secret. It has the UID, so that a successor's is another one.
func bundleName(podUID types.UID) string { return mapping.ReservedPrefix + "pod-" + string(podUID) }

// translateVolume changes a volume of the host pod so that it shows what the tenant's would.
func translateVolume(virtualPod *corev1.Pod, volume *corev1.Volume, wanted *bundle) {
	switch source := &volume.VolumeSource; {
	case source.ConfigMap != nil:
		source.ConfigMap.Name = mapping.HostName("ConfigMap", source.ConfigMap.Name)
	case source.Ephemeral != nil:
		*source = corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: ephemeralClaim(virtualPod, volume)}}
	case source.Projected != nil:
		source.Projected.Sources = translateSources(virtualPod.UID, source.Projected.Sources, wanted)
	case source.DownwardAPI != nil:
		translateDownward(virtualPod.UID, source, wanted)
	}
}

func translateSources(podUID types.UID, virtual []corev1.VolumeProjection, wanted *bundle) []corev1.VolumeProjection {
	var host []corev1.VolumeProjection
	var fromBundle []corev1.KeyToPath
	for _, source := range virtual {
		switch {
		case source.ServiceAccountToken != nil:
			fromBundle = append(fromBundle, wanted.addToken(source.ServiceAccountToken))
		case source.ConfigMap != nil && source.ConfigMap.Name == rootCAConfigMap:
			fromBundle = append(fromBundle, wanted.addRootCA(source.ConfigMap)...)
		case source.DownwardAPI != nil:
			kept, moved := wanted.addFields(source.DownwardAPI.Items)
			fromBundle = append(fromBundle, moved...)
			if len(kept) > 0 {
				host = append(host, corev1.VolumeProjection{DownwardAPI: &corev1.DownwardAPIProjection{Items: kept}})
			}
		default:
			host = append(host, source)
		}
	}
	return append(host, projection(podUID, fromBundle)...)
}

// translateDownward turns a downward API volume into a projected one if the bundle must answer a part of it.
func translateDownward(podUID types.UID, source *corev1.VolumeSource, wanted *bundle) {
	kept, moved := wanted.addFields(source.DownwardAPI.Items)
	if len(moved) == 0 {
		return
	}
	projected := &corev1.ProjectedVolumeSource{DefaultMode: source.DownwardAPI.DefaultMode, Sources: projection(podUID, moved)}
	if len(kept) > 0 {
		projected.Sources = append(projected.Sources, corev1.VolumeProjection{DownwardAPI: &corev1.DownwardAPIProjection{Items: kept}})
	}
	*source = corev1.VolumeSource{Projected: projected}
}

func projection(podUID types.UID, items []corev1.KeyToPath) []corev1.VolumeProjection {
	if len(items) == 0 {
		return nil
	}
	return []corev1.VolumeProjection{{Secret: &corev1.SecretProjection{
		LocalObjectReference: corev1.LocalObjectReference{Name: bundleName(podUID)}, Items: items,
	}}}
}

// addToken wants a token of an audience and life; volumes that ask for the same share it.
func (b *bundle) addToken(source *corev1.ServiceAccountTokenProjection) corev1.KeyToPath {
	file := tokenFile{audience: source.Audience, seconds: defaultTokenSeconds}
	if source.ExpirationSeconds != nil {
		file.seconds = *source.ExpirationSeconds
	}
	for _, known := range b.tokens {
		if known.audience == file.audience && known.seconds == file.seconds {
			return corev1.KeyToPath{Key: known.key, Path: source.Path}
		}
	}
	file.key = "token-" + strconv.Itoa(len(b.tokens))
	b.tokens = append(b.tokens, file)
	return corev1.KeyToPath{Key: file.key, Path: source.Path}
}

// addRootCA wants the CA. Without items the file has the name of the ConfigMap's only key.
func (b *bundle) addRootCA(source *corev1.ConfigMapProjection) []corev1.KeyToPath {
	b.rootCA = true
	if len(source.Items) == 0 {
		return []corev1.KeyToPath{{Key: rootCAKey, Path: rootCAKey}}
	}
	var items []corev1.KeyToPath
	for _, item := range source.Items {
		// Any other key does not exist; the kubelet then says so, as it would in the tenant.
		items = append(items, corev1.KeyToPath{Key: item.Key, Path: item.Path, Mode: item.Mode})
	}
	return items
}

// addFields wants the fields that the host pod would answer differently and returns the others.
func (b *bundle) addFields(virtual []corev1.DownwardAPIVolumeFile) (kept []corev1.DownwardAPIVolumeFile, moved []corev1.KeyToPath) {
	for _, item := range virtual {
		if item.FieldRef == nil || !differs(item.FieldRef.FieldPath) {
			kept = append(kept, item)
			continue
		}
		moved = append(moved, corev1.KeyToPath{Key: b.addField(item.FieldRef.FieldPath), Path: item.Path, Mode: item.Mode})
	}
	return kept, moved
}

func (b *bundle) addField(path string) string {
	for _, known := range b.fields {
		if known.path == path {
			return known.key
		}
	}
	key := "field-" + strconv.Itoa(len(b.fields))
	b.fields = append(b.fields, fieldFile{key: key, path: path})
	return key
}

func differs(path string) bool {
	_, ok := fieldValue(&corev1.Pod{}, path)
	return ok
}

// formatMap writes labels or annotations as the kubelet does.
func formatMap(values map[string]string) string {
	keys := make([]string, 0, len(values))
	for key := range values {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	var lines []string
	for _, key := range keys {
		lines = append(lines, fmt.Sprintf("%v=%q", key, values[key]))
	}
	return strings.Join(lines, "\n")
}
