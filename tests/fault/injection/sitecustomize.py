"""Python starts -> where a test has laid a plan, its faults are built in; test only, reached by PYTHONPATH alone."""

import os
import sys

if "NTT_TEST_FAULTS" in os.environ:
    sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    import fault_injection

    fault_injection.install(os.environ["NTT_TEST_FAULTS"])
