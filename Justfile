# What there is to do in this checkout. `./just` alone lists the recipes; `./just NAME ARGS` passes ARGS on.

set positional-arguments

export PATH := justfile_directory() / ".venv/bin:" + env("PATH")
# Containers are fond of =1; the tests start thousands of our processes, which must not compile us each time
export PYTHONDONTWRITEBYTECODE := ""

# list the recipes
default:
    @just --justfile "{{ justfile() }}" --list --unsorted

# the demo: a video and an MRI scan through runs, in a state directory of its own (--engine kubernetes, --bundle)
demo *args: setup
    @python examples/demo.py "$@"

# set-up, checks, and all tests but those that take minutes (ARGS go to pytest). Much of it waits for processes
test *args: setup-tests check
    @pytest -n 3 --dist worksteal -m "not long" --ignore tests/cluster "$@"

# the tests that take minutes: faults and crashes. Most of them wait, so they run side by side
test-faults *args: setup-cluster
    @tests/cluster/cluster with pytest -n 6 --dist worksteal -m long \
        tests/cluster tests/compat tests/conformance tests/crash tests/e2e tests/faults "$@"

# a Kubernetes of the tests' own, and what needs one; TYGER_TEST_KUBECONFIG names another (tests/support/cluster.py)
test-cluster *args: setup-cluster
    @tests/cluster/cluster with pytest -n 4 --dist worksteal -m "not long" tests/cluster "$@"

# static checks: lint, format, types, and that man pages and docs are what the programs say
check: setup
    @ruff check
    @ruff format --check
    @mypy
    @mypy examples/*.py packaging/*.py bench/*.py
    @mypy packaging/container/*.py
    @python packaging/man.py --check
    @python packaging/compatibility.py --check
    @python packaging/engines.py --check

# what every store and engine must do
conformance *args: setup-tests
    @pytest tests/conformance "$@"

# kill real processes at named points and compare every byte
crash *args: setup-tests
    @pytest -m "not long" tests/crash "$@"

# the compatible API and formats, as a foreign client meets them
compat *args: setup-tests
    @pytest tests/compat "$@"

# measure, print a table, write bench/results.json (--size 4GiB, --only NAME, --repeat 5)
bench *args: setup-tests
    @python bench/bench.py "$@"

# make man/ and parts of docs/ from the parsers, the route table, tygerd's configuration and the engines
man: setup
    @python packaging/man.py
    @python packaging/compatibility.py
    @python packaging/engines.py

# dist/tyger/: tyger, tygerd and tyger-proxy in one directory that needs no Python
build: setup
    @pyinstaller --noconfirm --log-level WARN --distpath dist --workpath build packaging/bundle/tyger.spec

# dist/tyger-pump.tar: the container image of the pump in the pods of a cluster (--name REGISTRY/NAME)
container *args: setup
    @python packaging/container/image.py "$@"

# .venv and Debian packages; does nothing when nothing is missing
setup:
    @bash packaging/setup.sh

# what the tests need besides: Azurite, and tools that watch and disturb
setup-tests:
    @bash packaging/setup.sh tests

# what `test-cluster` needs besides: containerd, and Kubernetes itself, compiled once in some minutes
setup-cluster:
    @bash packaging/setup.sh cluster

# packaging/constraints.txt: the versions that are tested, as the newest that pyproject.toml allows are now
pin: setup
    @python -m pip install --quiet --disable-pip-version-check --upgrade --upgrade-strategy eager -e '.[dev,demo,build]'
    @{ grep '^#' packaging/constraints.txt; python -m pip freeze --exclude-editable; } > packaging/constraints.new
    @mv packaging/constraints.new packaging/constraints.txt

# remove what the recipes made, .venv too
clean:
    rm -rf .venv build dist demo-output .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info bench/.cache bench/results*.json tygerd/blocks/*.so
    find . -name __pycache__ -type d -prune -exec rm -rf {} +
