// Package v1alpha1 holds the API group tenancy.matryoshka.dev: who may use a host cluster, and how much of it.
//
// It is for the wire types, their defaults and their validation rules only. It must not import anything of this
// module but other API packages, so that other programs can use it.
//
// +kubebuilder:object:generate=true
// +groupName=tenancy.matryoshka.dev
package v1alpha1
