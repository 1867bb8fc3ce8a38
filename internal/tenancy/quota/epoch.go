package quota

import (
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// annotationEpoch is, on a ResourceQuota, the epoch of the replica that writes it, and a number that changes whenever the version
// must: a call of which no answer came is void after that.
const annotationEpoch = "matryoshka.dev/quota-epoch"

func epochOf(quota *corev1.ResourceQuota) int64 {
	if quota == nil {
		return 0
	}
	text, _, _ := strings.Cut(quota.Annotations[annotationEpoch], "/")
	epoch, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0
	}
	return epoch
}

func epochText(epoch int64, mark string) string { return fmt.Sprintf("%d/%s", epoch, mark) }
