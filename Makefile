# Matryoshka: build, run, test. `make help` lists the targets.
#
# Everything is compiled with one set of flags, programs, tests and linters alike: Kubernetes takes ten minutes of
# compile time, and every other set of flags would take them again.
SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
export CGO_ENABLED := 0
# Vet belongs to `make lint`: `go test` would first run it over all of Kubernetes, for minutes.
export GOFLAGS := -buildvcs=false -vet=off

export VERSION ?= v0.0.0-dev
COMMIT := $(shell git rev-parse HEAD 2>/dev/null || true)
TREE_STATE := $(shell [ -z "$$(git status --porcelain 2>/dev/null | head -n 1)" ] && echo clean || echo dirty)

# The version of Kubernetes is that of the libraries; without these flags they would report v0.0.0-master.
KUBERNETES_VERSION := $(shell sed -n 's/^\tk8s.io\/kubernetes //p' go.mod)
KUBERNETES_MINOR := $(word 2,$(subst ., ,$(KUBERNETES_VERSION)))
kube_stamp = -X $(1).gitVersion=$(KUBERNETES_VERSION) -X $(1).gitMajor=1 -X $(1).gitMinor=$(KUBERNETES_MINOR) \
	-X $(1).gitCommit=$(COMMIT) -X $(1).gitTreeState=$(TREE_STATE)
MODULE := github.com/matryoshka-dev/matryoshka
LDFLAGS := -s -w -X $(MODULE)/internal/version.Version=$(VERSION) -X $(MODULE)/internal/version.Commit=$(COMMIT) \
	$(call kube_stamp,k8s.io/component-base/version) $(call kube_stamp,k8s.io/client-go/pkg/version)

# Where `make up` keeps the embedded host; empty leaves it to matry.
DATA_DIR ?=
DATA_DIR_FLAG := $(if $(DATA_DIR),--data-dir $(DATA_DIR))

NODE_PROGRAMS := bin/node
# Kubernetes' end-to-end suite, the test images and what the runs say.
CONFORMANCE := .build/conformance
# The program of `make bench`.
BENCH := .build/bench
TOOLS := .build/tools
GOLANGCI_LINT_VERSION := v2.15.0
CONTROLLER_GEN_VERSION := v0.21.0
GOLANGCI_LINT := $(TOOLS)/golangci-lint-$(GOLANGCI_LINT_VERSION)
CONTROLLER_GEN := $(TOOLS)/controller-gen-$(CONTROLLER_GEN_VERSION)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' Makefile

.PHONY: build
build: ## build bin/matry, bin/matryd and the programs of the images
	@hack/requirements.sh go
	go build -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

.PHONY: node-programs
node-programs: ## build containerd, runc, the CNI plugins and metrics-server into bin/node
	@hack/requirements.sh go root packages
	hack/node-programs.sh $(NODE_PROGRAMS)

.PHONY: up
up: node-programs build ## build everything, start the embedded host and show the demo
	bin/matry up --demo $(DATA_DIR_FLAG)

.PHONY: down
down: ## stop the embedded host; its data stays (PURGE=1 removes it)
	bin/matry down $(if $(PURGE),--purge) $(DATA_DIR_FLAG)

.PHONY: test
test: ## run all tests: unit, integration, end to end
	@hack/requirements.sh go root packages
	@hack/timed.sh unit $(MAKE) test-unit
	@hack/timed.sh integration $(MAKE) test-integration
	@hack/timed.sh e2e $(MAKE) test-e2e

.PHONY: test-unit
test-unit: ## test what needs no API server and no root
	@hack/requirements.sh go
	go test -timeout 20m $$(hack/packages.sh unit)

.PHONY: test-integration
test-integration: ## test against real API servers in the test process
	@hack/requirements.sh go
	go test -timeout 40m -p 2 $$(hack/packages.sh integration)

.PHONY: test-e2e
test-e2e: node-programs build ## test the product on an embedded host of its own
	go test -timeout 60m -count 1 -parallel 8 $(E2E_FLAGS) ./test/e2e

.PHONY: bench
bench: $(BENCH) ## measure every budget on an embedded host of its own and print the table (BENCH_FLAGS; 20 minutes)
	$(BENCH) $(BENCH_FLAGS)

.PHONY: bench-density
bench-density: $(BENCH) ## count the idle virtual clusters that this machine holds (BENCH_FLAGS)
	$(BENCH) -set density $(BENCH_FLAGS)

.PHONY: bench-scale
bench-scale: $(BENCH) ## measure many tenants with many pods on simulated nodes (BENCH_FLAGS)
	$(BENCH) -set scale $(BENCH_FLAGS)

.PHONY: bench-accounts
bench-accounts: $(BENCH) ## measure many accounts with their spaces (BENCH_FLAGS)
	$(BENCH) -set accounts $(BENCH_FLAGS)

.PHONY: bench-go
bench-go: ## run the Go benchmarks
	packages=$$(hack/packages.sh bench); [ -z "$$packages" ] || go test -run '^$$' -bench . -benchmem $$packages

.PHONY: $(BENCH)
$(BENCH): node-programs build
	go build -ldflags '$(LDFLAGS)' -o $@ ./test/bench

.PHONY: conformance
conformance: node-programs build ## run Kubernetes' conformance tests on the embedded host and in a virtual cluster (FOCUS, PROFILES)
	LDFLAGS='$(LDFLAGS)' hack/conformance-programs.sh $(CONFORMANCE)
	go build -o $(CONFORMANCE)/ ./test/conformance/images ./test/conformance/registry ./test/conformance/report ./test/conformance/sh
	hack/conformance-roots.sh $(CONFORMANCE) bin/pause $(CONFORMANCE)/roots
	$(CONFORMANCE)/images $(CONFORMANCE)/roots $(CONFORMANCE)/images.tar
	hack/conformance.sh bin $(CONFORMANCE)

# Kinds of tests that are quick and should all pass with default settings, but for those that docs/conformance.md explains.
SHORT_FOCUS := \[sig-(auth|cli|instrumentation)\]|\[sig-network\] (DNS|EndpointSlice|Ingress|Service|Proxy|Networking.*intra-pod)|\
\[sig-storage\] (ConfigMap|Secrets|Downward API|Projected)|\[sig-apps\] (Deployment|ReplicaSet|ReplicationController)|Webhook|ResourceQuota

.PHONY: conformance-short
conformance-short: ## run the quick part of the conformance tests in a virtual cluster
	$(MAKE) conformance FOCUS='$(subst | ,|,$(SHORT_FOCUS))' PROFILES=default

.PHONY: lint
lint: $(GOLANGCI_LINT) ## run the linters
	$(GOLANGCI_LINT) run ./...

.PHONY: generate
generate: $(CONTROLLER_GEN) ## write the generated files: deepcopy functions, CRDs, the reference of the sync
	hack/generate.sh $(CONTROLLER_GEN) .

.PHONY: verify
verify: build $(CONTROLLER_GEN) ## check generated files, formatting, go.mod, docs, binaries
	hack/verify.sh $(CONTROLLER_GEN)

$(GOLANGCI_LINT):
	hack/tool.sh $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)

$(CONTROLLER_GEN):
	hack/tool.sh $@ sigs.k8s.io/controller-tools/cmd/controller-gen@$(CONTROLLER_GEN_VERSION)
