# SPDX-License-Identifier: GPL-2.0
"""Sends requests to netraid as they are, without the checks netraid-ctl makes first.

Standard input: one JSON array a line, [OPERATION, ATTRIBUTES]. Standard output: one JSON
object a line, {"errno": N, "sentence": TEXT}, with 0 and null where the kernel obeyed.
"""

import json
import sys

sys.path.insert(0, "/run/netraid/ynl")
from lib import NlError, YnlFamily  # noqa: E402

family = YnlFamily("/run/netraid/netraid.yaml", "")
for line in sys.stdin:
    operation, attributes = json.loads(line)
    answer = {"errno": 0, "sentence": None}
    try:
        family.do(operation, attributes)
    except NlError as error:
        extack = error.nl_msg.extack or {}
        answer = {"errno": error.error, "sentence": extack.get("msg")}
    print(json.dumps(answer))
