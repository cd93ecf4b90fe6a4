"""`python -m infra.local.standin --port 0 --ready-file PATH`: run the stand-in on loopback until SIGTERM."""

import argparse
from pathlib import Path

from infra.local.standin.app import create_app
from infra.local.standin.server import serve


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m infra.local.standin", description="A local Claude API, simulated.")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 takes a free one (default)")
    parser.add_argument("--ready-file", type=Path, help="file that gets the URL once the server listens")
    options = parser.parse_args()
    serve(create_app(), options.port, options.ready_file)


if __name__ == "__main__":
    main()
