package hostusage

import (
	"errors"
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

func TestAdmit(t *testing.T) {
	web, db := Object{Kind: "Pod", Namespace: "a", Name: "web"}, Object{Kind: "Pod", Namespace: "a", Name: "db"}
	usage := New(Limits{Objects: 2, Bytes: 100})
	usage.Set("shop", web, 60)
	usage.Set("bank", web, 90)
	cases := map[string]struct {
		object Object
		size   int64
		want   string
	}{
		"fits":              {db, 40, ""},
		"too large":         {db, 41, "bytes of objects"},
		"grows within":      {web, 100, ""},
		"grows beyond":      {web, 101, "bytes of objects"},
		"another's is none": {db, 20, ""},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) { wantExceeded(t, usage.Admit("shop", test.object, test.size), test.want) })
	}

	usage.Set("shop", db, 50) // the last one over the bound was under way already
	wantExceeded(t, usage.Admit("shop", db, 50), "")
	wantExceeded(t, usage.Admit("shop", db, 10), "")
	wantExceeded(t, usage.Admit("shop", db, 51), "bytes of objects")
	wantExceeded(t, usage.Admit("shop", Object{Kind: "Pod", Namespace: "a", Name: "third"}, 0), "objects")
	usage.Remove("shop", db)
	usage.Remove("shop", db)
	wantExceeded(t, usage.Admit("shop", db, 40), "")
	if objects, bytes := usage.Of("shop"); objects != 1 || bytes != 60 {
		t.Errorf("shop has %d objects of %d bytes", objects, bytes)
	}
	usage.Set("shop", Object{Kind: "Namespace", Name: "a"}, 7)
	usage.Set("shop", Object{Kind: "Pod", Namespace: "b", Name: "web"}, 5)
	usage.RemoveNamespace("shop", "a")
	if objects, bytes := usage.Of("shop"); objects != 1 || bytes != 5 {
		t.Errorf("without its first namespace it has %d objects of %d bytes", objects, bytes)
	}
	usage.RemoveNamespace("shop", "b")
	if objects, bytes := usage.Of("shop"); objects != 0 || bytes != 0 {
		t.Errorf("without namespaces it has %d objects of %d bytes", objects, bytes)
	}
	if objects, _ := usage.Of("bank"); objects != 1 {
		t.Errorf("another tenant has %d objects", objects)
	}
}

func TestForget(t *testing.T) {
	usage := New(Limits{Objects: 2})
	for _, tenant := range []types.UID{"shop", "bank"} {
		usage.Set(tenant, Object{Kind: "Pod", Name: "web"}, 5)
		usage.Set(tenant, Object{Kind: "Secret", Name: "key"}, 3)
	}
	usage.Forget(func(tenant types.UID) bool { return tenant == "shop" }, "ConfigMap", "Secret")
	if objects, bytes := usage.Of("shop"); objects != 1 || bytes != 5 {
		t.Errorf("shop has %d objects of %d bytes", objects, bytes)
	}
	if objects, bytes := usage.Of("bank"); objects != 2 || bytes != 8 {
		t.Errorf("bank has %d objects of %d bytes", objects, bytes)
	}
}

func TestZeroMeansNoBound(t *testing.T) {
	usage := New(Limits{})
	usage.Set("shop", Object{Name: "web"}, 1<<40)
	wantExceeded(t, usage.Admit("shop", Object{Name: "db"}, 1<<40), "")
}

func wantExceeded(t *testing.T, err error, what string) {
	t.Helper()
	exceeded := (*ExceededError)(nil)
	if errors.As(err, &exceeded); what == "" && err != nil || what != "" && (exceeded == nil || exceeded.What != what) {
		t.Errorf("got %v, want %q exceeded", err, what)
	}
}
