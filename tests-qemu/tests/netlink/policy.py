# SPDX-License-Identifier: GPL-2.0
"""Compares what the running kernel accepts with what the specification says.

Prints one JSON object: {"operations": N, "attributes": N, "differences": [TEXT, ...]}.
"""

import json
import sys

sys.path.insert(0, "/run/netraid/ynl")
from lib import YnlFamily  # noqa: E402

family = YnlFamily("/run/netraid/netraid.yaml", "")
constants = {entry["name"]: entry.get("value") for entry in family.yaml["definitions"]}
differences = []
attributes = 0


def number(value):
    return constants[value] if isinstance(value, str) else value


def expected(spec):
    """What the policy of an attribute has to say, by its entry in the specification."""
    kind = spec["type"]
    checks = {name: number(value) for name, value in spec.get("checks", {}).items()}
    if kind == "nest":
        return {"type": "nested"}
    if kind == "string":
        return {"type": "nul-string", "max-length": checks["max-len"]}
    if kind == "binary" and "exact-len" in checks:
        return {"type": "binary", "min-length": checks["exact-len"], "max-length": checks["exact-len"]}
    if kind == "binary":
        # Of a range without a lower end the kernel tells nothing; it does keep to it.
        return {"type": "binary"}
    if kind == "u32":
        most = checks.get("max", 0xFFFFFFFF)
        if "enum" in spec:
            most = min(most, len(family.consts[spec["enum"]].entries) - 1)
        return {"type": "u32", "min-value": checks.get("min", 0), "max-value": most}
    if kind == "uint":
        return {"type": "uint", "min-value": 0, "max-value": 0xFFFFFFFFFFFFFFFF}
    return {"type": kind}


def compare(where, policy, attribute_set, names):
    global attributes
    if set(policy.keys()) != set(names):
        differences.append(f"{where}: {sorted(policy.keys())} are taken, {sorted(names)} are specified")
        return
    for name in names:
        attributes += 1
        spec = attribute_set[name].yaml
        said = policy[name]
        props = dict(said._props)
        if props != expected(spec):
            differences.append(f"{where} {name}: {props} is taken, {expected(spec)} is specified")
        if spec["type"] == "nest":
            inner = family.attr_sets[spec["nested-attributes"]]
            compare(f"{where} {name}", said, inner, list(inner.attrs))


operations = 0
for name, operation in family.ops.items():
    if "do" not in operation.yaml:
        continue
    operations += 1
    policy = family.get_policy(name, "do")
    compare(name, policy, operation.attr_set, operation.yaml["do"]["request"]["attributes"])
print(json.dumps({"operations": operations, "attributes": attributes, "differences": differences}))
