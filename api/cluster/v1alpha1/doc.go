// Package v1alpha1 holds the API group cluster.matryoshka.dev: virtual clusters, as a tenant or an operator asks for them.
//
// It is for the wire types, their defaults and their validation rules only. It must not import anything of this
// module but other API packages, so that other programs can use it.
//
// +kubebuilder:object:generate=true
// +groupName=cluster.matryoshka.dev
package v1alpha1
