# Everything that people and machines do with hugbucket. `make run` needs only cargo and a C compiler;
# `make test` runs every suite of SUITES and sums them up.

CARGO ?= cargo
VENV ?= .venv
SUITES := fmt clippy doc unit clients helm observe deny

# A suite that cannot run here says why and exits with this code; `make test` reports it as skipped.
SKIPPED := 77

.PHONY: help run build test soak bench fuzz e2e image clean $(SUITES)

help: ## Show the targets.
	@grep -hE '^[a-z0-9]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-8s %s\n", $$1, $$2 }'

run: build ## Build with optimisations and serve; without HF_TOKEN, over the development Hub.
	@exec target/release/hugbucket

build: ## Build target/release/hugbucket.
	@command -v $(CARGO) >/dev/null || { \
		echo "cargo is not here: install Rust from https://rustup.rs (rust-version in Cargo.toml says which)" >&2; \
		exit 2; \
	}
	$(CARGO) build --release --locked

test: ## Run all suites; the last line sums them up.
	@MAKE="$(MAKE)" tests/run $(SUITES)

soak: ## Hold the promises under load, faults, and kills for half an hour; SECONDS=600 is shorter, SEED=1 repeats a run.
	HUGBUCKET_SOAK_SECONDS=$(or $(SECONDS),1800) $(if $(SEED),HUGBUCKET_SOAK_SEED=$(SEED)) \
		$(CARGO) test --locked --test soak -- --nocapture --exact what_is_promised_holds_in_bad_weather_and_after_kills

bench: ## Measure side by side with the client without a gateway; prints the README's tables.
	$(CARGO) bench --locked --bench bench
	$(CARGO) bench --locked --features micro --bench micro

fuzz: ## Fuzz everything that reads what strangers send; SECONDS=60 a target, TARGETS="xml plan" for some of them.
	@command -v cargo-fuzz >/dev/null || { \
		echo "SKIP: cargo-fuzz is not here (cargo install cargo-fuzz --locked)"; exit $(SKIPPED); \
	}
	nice fuzz/run $(or $(SECONDS),60) $(TARGETS)

image: ## Build the image hugbucket:latest with docker, podman, or buildah; TAG=name calls it something else.
	@deploy/image $(or $(TAG),hugbucket:latest)

fmt: ## Suite: formatting.
	$(CARGO) fmt --check

clippy: ## Suite: lints; a warning fails.
	$(CARGO) clippy --locked --all-targets --features micro -- -D warnings

doc: ## Suite: documentation; a broken link fails.
	@# Private items are documented too, so that links to them hold.
	RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" $(CARGO) doc --locked --no-deps --document-private-items

unit: ## Suite: Rust tests: units, architecture, contracts, interoperability.
	$(CARGO) test --locked --no-fail-fast

clients: ## Suite: real S3 and Hugging Face clients against the binary; the README's table agrees.
	@# Built as for the Rust tests, whose artefacts are then shared.
	@$(CARGO) test --quiet --locked --no-run --test process
	@tests/clients/install $(VENV) || { \
		echo "SKIP: the Python clients cannot be installed"; exit $(SKIPPED); \
	}
	@rm -f target/clients.json
	$(VENV)/bin/pytest tests/clients -m "not e2e"
	$(VENV)/bin/python tests/clients/table.py

helm: ## Suite: the chart: what it renders, what Kubernetes and the gateway say of it, and what it refuses.
	@$(CARGO) test --quiet --locked --no-run --test process
	@tests/environment $(VENV)/helm tests/helm/requirements.txt || { \
		echo "SKIP: Helm's library and the schemas of Kubernetes cannot be installed"; exit $(SKIPPED); \
	}
	$(VENV)/helm/bin/pytest tests/helm

observe: ## Suite: alerts, dashboard, traces, reload, and replicas, with a real Prometheus and real processes.
	@$(CARGO) test --quiet --locked --no-run --test process
	@tests/environment $(VENV)/observe tests/observability/requirements.txt || { \
		echo "SKIP: the Python packages cannot be installed"; exit $(SKIPPED); \
	}
	@command -v promtool >/dev/null || echo "SKIP: promtool and prometheus are not here (Debian package prometheus)"
	$(VENV)/observe/bin/pytest tests/observability -m "not e2e"

e2e: ## The rest of the clients' table: what is compiled with Go, and what takes minutes. About 40 minutes on 2 cores.
	@$(CARGO) test --quiet --locked --no-run --test process
	@tests/clients/install $(VENV)
	@cd tests/clients/drivers/go && nice go build -o $(CURDIR)/target/go-worker . || echo "SKIP: the clients of Go cannot be compiled"
	HUGBUCKET_GO_WORKER=$(CURDIR)/target/go-worker $(VENV)/bin/pytest tests/clients -m e2e
	$(VENV)/bin/python tests/clients/table.py
	@nice tests/go-tools $(CURDIR)/target/go-tools
	@tests/environment $(VENV)/helm tests/helm/requirements.txt
	HUGBUCKET_GO_TOOLS=$(CURDIR)/target/go-tools $(VENV)/helm/bin/pytest tests/helm
	@tests/environment $(VENV)/observe tests/observability/requirements.txt
	@# Storage and isolation that work inside of containers too.
	@STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot IMAGE_PROFILE=dev nice deploy/image hugbucket:e2e || \
		echo "SKIP: there is no image to test"
	STORAGE_DRIVER=vfs HUGBUCKET_GO_TOOLS=$(CURDIR)/target/go-tools HUGBUCKET_TEST_IMAGE=hugbucket:e2e \
		$(VENV)/observe/bin/pytest tests/observability -m e2e
	@if command -v cargo-fuzz >/dev/null; then nice fuzz/run 60; else echo "SKIP: cargo-fuzz is not here"; fi

deny: ## Suite: licences, sources, and duplicates of dependencies; known vulnerabilities where the network allows it.
	@command -v cargo-deny >/dev/null || { \
		echo "SKIP: cargo-deny is not here (cargo install cargo-deny --locked)"; exit $(SKIPPED); \
	}
	cargo deny --locked check bans licenses sources
	@cargo deny fetch db >/dev/null 2>&1 || ls -d "$${CARGO_HOME:-$$HOME/.cargo}"/advisory-dbs/advisory-db-* >/dev/null 2>&1 || { \
		echo "SKIP: the advisories cannot be fetched; bans, licences, and sources were checked"; exit $(SKIPPED); \
	}
	cargo deny --locked check --disable-fetch advisories

clean: ## Remove what was built, and the clients' environment.
	$(CARGO) clean
	rm -rf $(VENV)
