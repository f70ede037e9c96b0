# What this repository can do. `make help` lists the targets.

GO       ?= go
PACKAGES ?= ./...
# How long each fuzz target runs.
FUZZTIME ?= 20s
# Arguments of the server that `make run` starts, seeds of `make sim`, kills of `make crash`.
ARGS     ?=
SEEDS    ?= 200
KILLS    ?= 20
# Further arguments of `make bench`: `bin/load -h` lists them.
BENCH    ?=

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null | sed 's/^v//')

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/perdure
	$(GO) build -ldflags "-X main.version=$(VERSION)" -o bin/perdure ./cmd/perdure

.PHONY: run
run: build ## build and start the server, with its data in ./perdure-data
	exec bin/perdure server $(ARGS)

.PHONY: test
test: ## vet, then all tests that need nothing but Go
	$(GO) vet $(PACKAGES)
	$(GO) test $(PACKAGES)

.PHONY: race
race: ## all tests under the race detector, but the simulator's: it has one goroutine
	$(GO) test -race -timeout 20m $$($(GO) list $(PACKAGES) | grep -v internal/sim)

.PHONY: lint
lint: ## formatting, vet, generated files up to date
	@out=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go')); \
	if [ -n "$$out" ]; then echo "not formatted:"; echo "$$out"; exit 1; fi
	$(GO) vet $(PACKAGES)
	$(GO) run ./internal/compat -check -o docs/compat.md
	$(GO) run ./cmd/perdure vet ./examples/...
	for module in . bench conformance; do (cd $$module && $(GO) mod tidy -diff) || exit 1; done

.PHONY: fuzz
fuzz: ## each fuzz target for $(FUZZTIME)
	@set -e; for file in $$(git grep -l --untracked '^func Fuzz' -- '*_test.go'); do \
	  for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/p' $$file); do \
	    echo "$$(dirname $$file) $$target"; \
	    out=$$(mktemp); \
	    if $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) ./$$(dirname $$file) >$$out 2>&1; then tail -n 3 $$out; \
	    elif grep -q '^    context deadline exceeded$$' $$out && ! grep -q 'Failing input\|panic\|_test.go:' $$out; then \
	      echo "nothing found; the end of the time was taken for a failure: go.dev/issue/75804, mended in Go 1.27"; \
	    else cat $$out; exit 1; fi; \
	    rm -f $$out; \
	  done; done

.PHONY: bench
bench: build ## servers side by side under load; A=host:port B=host:port for servers of your own, BENCH="-rounds 5"
	cd bench && $(GO) build -o ../bin/ ./load ./stub
	bin/load $(if $(A)$(B),$(if $(A),-target a=$(A)) $(if $(B),-target b=$(B)),-perdure bin/perdure -stub bin/stub) $(BENCH)

.PHONY: microbench
microbench: ## the benchmarks of all packages
	$(GO) test -run '^$$' -bench . -benchmem $(PACKAGES)

.PHONY: sim
sim: ## the simulator, with $(SEEDS) fresh seeds
	$(GO) test -count=1 ./internal/sim -run TestFresh -seeds=$(SEEDS)

.PHONY: crash
crash: build ## kill a real server 20 times under load; nothing acknowledged may be lost or doubled
	cd conformance && $(GO) run ./crash -perdure ../bin/perdure -kills 20

.PHONY: linear
linear: build ## kill a real server and its workers; what clients see of a workflow must have an order
	cd conformance && $(GO) run ./linear -perdure ../bin/perdure

.PHONY: conformance
conformance: build ## behaviour seen through the official Go SDK, against a server of its own
	cd conformance && $(GO) vet ./... && $(GO) test -count=1 $$($(GO) list ./... | grep -v /oracle)

.PHONY: test-sdk
test-sdk: ## the Go SDK's own tests against the server at ADDR=host:port, which may be any that speaks the API
	PERDURE_TEST_ADDR=$(ADDR) $(GO) test -count=1 ./worker
	cd conformance && PERDURE_TEST_ADDR=$(ADDR) $(GO) test -count=1 ./own

.PHONY: examples
examples: build ## the example programs of three official SDKs, against a server of their own
	@set -e; port=$${PORT:-17233}; out=$$(mktemp); \
	bin/perdure server start-dev --headless --port $$port >$$out 2>&1 & server=$$!; \
	trap 'kill $$server; rm -f $$out' EXIT; \
	until grep -q serves $$out; do kill -0 $$server 2>/dev/null || { cat $$out; exit 1; }; sleep 0.1; done; \
	TEMPORAL_ADDRESS=127.0.0.1:$$port examples/run.sh

.PHONY: ui
ui: build ## the web UI in headless Chromium
	conformance/ui/run.sh

.PHONY: python
python: build ## behaviour seen through the official Python SDK
	conformance/python/run.sh

.PHONY: typescript
typescript: build ## behaviour seen through the official TypeScript SDK
	conformance/typescript/run.sh

.PHONY: cross
cross: build ## clients and workers of different SDKs with each other
	conformance/cross/run.sh

.PHONY: oracle
oracle: ## the same requests to the reference's dev server and to ours
	conformance/oracle/run.sh

.PHONY: bench-messages
bench-messages: build ## what a message costs
	cd bench && $(GO) run ./messages -perdure ../bin/perdure

.PHONY: generate
generate: ## docs/compat.md
	$(GO) run ./internal/compat -o docs/compat.md

.PHONY: proto
proto: ## the Go code of api; needs protoc (Debian: protobuf-compiler)
	@tools=$$(mktemp -d); trap 'rm -rf $$tools' EXIT; set -e; \
	$(GO) build -o $$tools google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/grpc/cmd/protoc-gen-go-grpc; \
	PATH=$$tools:$$PATH protoc -I api --go_out=api --go_opt=paths=source_relative \
	  --go-grpc_out=api --go-grpc_opt=paths=source_relative api/inspect/v1/inspect.proto api/session/v1/session.proto
