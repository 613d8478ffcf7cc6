# Everything a developer does goes through here; the steps that are more than a line live in scripts/.
# Tools are pinned in tools.versions and built into .tools/bin, each by the first target that needs it.

SHELL := bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# What a binary answers to `version`: the nearest tag, the commits since, and whether the tree was dirty.
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unversioned)
TOOLS := $(CURDIR)/.tools/bin
COMMANDS := ./cli/cmd/streamhouse ./dataplane/cmd/streamhouse-agent ./controlplane/cmd/streamhouse-controlplane ./devs3/cmd/streamhouse-devs3

# Packages to test: PKG=./client/... narrows test, prove and bench; TESTFLAGS adds to them.
PKG ?= work
TESTFLAGS ?=
# Arguments of `streamhouse dev`: make dev ARGS='--agents-per-zone 2'.
ARGS ?=
# How often `prove` repeats each test and each fault, and how long `bench` runs each benchmark (1x: once).
COUNT ?= 10
TRIALS ?= 20
BENCHTIME ?= 1s
# Which rows of docs/performance.md `bench` measures: those whose text or command has this in it; none; empty: all.
ROWS ?=

# What everything in the images is dated with: the commit, so that two builds of it are one image. CA=FILE: certificates that they trust besides the public ones.
CREATED = $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct))
CA ?=

# The race detector needs a C compiler. Without one `test` says so and goes on.
RACE := $(shell command -v "$$(go env CC)" >/dev/null 2>&1 && echo -race)

# Tests that start the product's processes take them from here.
export STREAMHOUSE_BIN := $(CURDIR)/bin

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: dev
dev: postgres build ## set up whatever is missing, then run the whole system here until Ctrl-C
	@exec bin/streamhouse dev $(ARGS)

.PHONY: demo
demo: postgres build ## a cluster, a real file through it, an agent killed on the way, nothing lost
	@exec go run ./e2e/cmd/demo

.PHONY: build
build: ## build the binaries into bin/
	@mkdir -p bin
	go build -buildvcs=false -ldflags '-X main.version=$(VERSION)' -o bin/ $(COMMANDS)

.PHONY: check
check: ## the inner loop: build, vet, fast tests
	go build -buildvcs=false work
	go vet work
	go test -short work

.PHONY: test
test: postgres spin browser build testsum ## set up whatever is missing, then run every test
	@set -o pipefail; [ -n "$(RACE)" ] || echo "no C compiler: testing without the race detector"; \
	go test $(RACE) -json -timeout 15m $(TESTFLAGS) $(PKG) | $(TOOLS)/testsum -record .tools/test.json

.PHONY: prove
prove: postgres spin browser build testsum ## the long proof: every test COUNT times in changing order, then TRIALS of each fault and their table; all with the race detector
	@scripts/prove '$(PKG)' $(COUNT) $(TRIALS) '$(COMMANDS)' $(TESTFLAGS)

.PHONY: bench
bench: postgres build ## run the benchmarks, BENCHTIME each, and the rows of docs/performance.md on clusters of their own
	@scripts/bench '$(PKG)' $(BENCHTIME) '$(ROWS)' $(TESTFLAGS)

.PHONY: images
images: ## the container images in bin/images/, reproducible, without a container engine
	@go run -buildvcs=false ./images/cmd/images -version '$(VERSION)' -created $(CREATED) -ca '$(CA)'

.PHONY: generate
generate: ## Go from proto/ and from sql/, and the web console; CI fails if it changes anything
	@scripts/tool buf protoc-gen-go protoc-gen-connect-go sqlc
	scripts/generate
	scripts/console

.PHONY: proto-release
proto-release: ## make the present proto/ the state that buf breaking compares with (see CONTRIBUTING.md)
	@scripts/tool buf
	$(TOOLS)/buf build proto --exclude-source-info -o proto/released.binpb

.PHONY: lint
lint: ## golangci-lint, buf lint, buf breaking, terraform fmt
	@scripts/tool golangci-lint buf
	scripts/lint

.PHONY: fmt
fmt: ## the formatters
	@scripts/tool golangci-lint buf
	scripts/fmt

# Not for people: what other targets need.

.PHONY: postgres
postgres:
	@scripts/postgres >/dev/null

.PHONY: spin
spin:
	@scripts/spin

.PHONY: browser
browser:
	@scripts/browser

.PHONY: testsum
testsum:
	@go build -buildvcs=false -o $(TOOLS)/testsum ./e2e/workspace/testsum
