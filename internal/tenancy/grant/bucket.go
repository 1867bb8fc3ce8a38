package grant

import (
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// The policy matryoshka-agent-grants compares what the agent gives to people with their account. A policy cannot ask for one account by a
// name that stands in an object; it is evaluated with each account that a fixed selector finds, which with all of them costs a host of
// 500 accounts a sixth of a second for each space that is made. So accounts are dealt into buckets by their names, and each
// bucket has a binding of the policy. The policies have the same rule, and refuse a label that says something else. An account that has no
// label yet is looked at for all buckets.
const (
	buckets = 32
	letters = "-0123456789abcdefghijklmnopqrstuvwxyz"
)

// Bucket is the bucket of an account, by its name.
func Bucket(account string) string {
	sum := 0
	for _, letter := range account {
		sum += strings.IndexRune(letters, letter)
	}
	return strconv.Itoa(sum % buckets)
}

// Mark labels what gives rights to the people of an account.
func Mark(meta *metav1.ObjectMeta, account string) {
	metav1.SetMetaDataLabel(meta, mapping.LabelAccount, account)
	metav1.SetMetaDataLabel(meta, mapping.LabelAccountBucket, Bucket(account))
}
