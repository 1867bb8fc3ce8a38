package account

import (
	"context"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/grant"
)

// deal labels an account with its bucket. Until then the host looks at it whenever people of any account get rights.
func (r *Reconciler) deal(ctx context.Context, account *tenancyv1alpha1.Account) error {
	bucket := grant.Bucket(account.Name)
	if account.Labels[mapping.LabelAccountBucket] == bucket {
		return nil
	}
	// A patch of the label alone: see package finalizer.
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": account.UID, "labels": map[string]string{mapping.LabelAccountBucket: bucket},
	}})
	if err != nil {
		return fmt.Errorf("write the patch: %w", err)
	}
	if err := r.host.Patch(ctx, account, client.RawPatch(types.MergePatchType, body), fieldManager); err != nil {
		return fmt.Errorf("label Account %q with its bucket: %w", account.Name, err)
	}
	return nil
}
