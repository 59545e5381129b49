"""Makes the image of the pump that stands beside the jobs of a cluster: `./just container` runs it.

Load it with `docker load -i dist/tyger-pump.tar`, `podman load` or `ctr -n k8s.io images import`, or push it:
`skopeo copy oci-archive:dist/tyger-pump.tar:latest docker://registry.example/tyger-pump:latest`.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import sys

import archive
import contents

ROOT = pathlib.Path(__file__).resolve().parents[2]
NAME = "localhost/tyger-pump"


def main(argv: list[str]) -> int:
    """Make it; the exit code."""
    sys.path.insert(0, str(ROOT))
    import tyger

    parser = argparse.ArgumentParser("just container", description="Make the image of the pump.")
    parser.add_argument("--name", default=NAME, help="its name, without a tag (default: %(default)s)")
    parser.add_argument(
        "--output", default=str(ROOT / "dist/tyger-pump.tar"), help="the archive (default: %(default)s)"
    )
    options = parser.parse_args(argv)
    try:
        os.makedirs(os.path.dirname(os.path.abspath(options.output)), exist_ok=True)
        layer = archive.layer(contents.entries(ROOT))
        names = [f"{options.name}:{tag}" for tag in (tyger.__version__.replace("+", "_"), "latest")]
        config = archive.Config(
            entrypoint=["tygerd"],
            env=contents.ENV,
            user=f"{contents.USER}:{contents.USER}",
            labels={"org.opencontainers.image.version": tyger.__version__},
        )
        packed = archive.write(options.output, names, layer, config, os.uname().machine)
    except (contents.Failed, OSError) as error:
        sys.stderr.write(f"container: {error}\n")
        return 1
    sizes = f"{packed / 1e6:.1f} MB, unpacked {len(layer) / 1e6:.1f} MB"
    sys.stdout.write(f"{options.output}: {' '.join(names)}: {sizes}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
