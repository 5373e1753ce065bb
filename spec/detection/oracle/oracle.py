#!/usr/bin/env python3
"""The reference evaluator of Sigma rules: `record index<tab>rule id` for every match. See README.md."""

import argparse
import json
import sys

from events import Event, detect_format, read_events
from matcher import load, load_document

PRODUCTS = {"cloudtrail": ("aws", "cloudtrail")}


class Router:
    """Which rules an event may meet, remembered per kind of event."""

    def __init__(self, rules, logsources):
        self.rules = rules
        self.logsources = logsources
        self.known = {}

    def candidates(self, event):
        if event.form == "plain":
            return self.rules
        if event.form in PRODUCTS:
            key = event.form
        else:
            channel, number = event.routing("Channel"), event.routing("EventID")
            key = (str(channel).lower(), str(number))
        if key not in self.known:
            self.known[key] = [rule for rule in self.rules if self.routed(rule, event.form, key)]
        return self.known[key]

    def routed(self, rule, form, key):
        if form in PRODUCTS:
            product, service = PRODUCTS[form]
            return rule.category is None and rule.product in (None, product) and rule.service in (None, service)
        if rule.product not in (None, "windows"):
            return False
        if rule.product is None and rule.category is None and rule.service is None:
            return False
        channel, number = key
        if rule.category is not None:
            entry = self.logsources["category"].get(rule.category)
            if entry is None or channel not in [name.lower() for name in entry["channel"]]:
                return False
            if entry.get("event_id") and number not in [str(each) for each in entry["event_id"]]:
                return False
        if rule.service is not None:
            channels = self.logsources["service"].get(rule.service)
            if channels is None or channel not in [name.lower() for name in channels]:
                return False
        return True


def match_file(router, path, form, out):
    count = 0
    for index, raw in read_events(path):
        count += 1
        if not isinstance(raw, dict):
            continue
        event = Event(raw, detect_format(raw) if form == "auto" else form)
        for identifier in sorted({rule.id for rule in router.candidates(event) if rule.match(event)}):
            out.write(f"{index}\t{identifier}\n")
    return count


def micro(path):
    import yaml

    wrong = 0
    for line in open(path, encoding="utf-8"):
        case = json.loads(line)
        try:
            found = load_document(yaml.safe_load(case["rule"])).match(Event(case["event"], "plain"))
        except Exception as fault:
            found = f"rejected: {fault}"
        if found != case["expected"]:
            wrong += 1
            print(f"{case['name']}: expected {case['expected']}, found {found}")
    print(f"{wrong} cases do not agree", file=sys.stderr)
    return 1 if wrong else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rules", help="folder of Sigma rules, or one rule file")
    parser.add_argument("--input", nargs="+", help="jsonl(.gz, .zst), evtx(.gz) or zip")
    parser.add_argument("--format", default="auto")
    parser.add_argument("--logsources", help="the Windows log source file")
    parser.add_argument("--out", help="folder: write one <name>.tsv per input instead of standard output")
    parser.add_argument("--micro", help="run a file of micro cases instead")
    options = parser.parse_args()
    if options.micro:
        return micro(options.micro)
    logsources = json.load(open(options.logsources)) if options.logsources else {"category": {}, "service": {}}
    router = Router(load(options.rules), logsources)
    print(f"{len(router.rules)} rules", file=sys.stderr)
    for path in options.input:
        if options.out:
            name = path.rstrip("/").split("/")[-1]
            with open(f"{options.out}/{name}.tsv", "w", encoding="utf-8") as out:
                count = match_file(router, path, options.format, out)
        else:
            count = match_file(router, path, options.format, sys.stdout)
        print(f"{path}: {count} events", file=sys.stderr, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
