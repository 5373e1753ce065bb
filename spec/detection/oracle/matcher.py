"""Turn pySigma's parsed conditions into Python functions over an event. Slow and plain on purpose."""

import datetime
import ipaddress
import os
import sys

import regex
import yaml
from sigma import modifiers as sigma_modifiers
from sigma import types as st
from sigma.conditions import (
    ConditionAND,
    ConditionFieldEqualsValueExpression,
    ConditionNOT,
    ConditionOR,
    ConditionValueExpression,
)
from sigma.rule import SigmaRule

# pySigma checks expressions with RE2; whether one is usable is decided here, where it is compiled.
st.SigmaRegularExpression.compile = lambda self: None
# The specification's name of what pySigma only knows as `wide`.
sigma_modifiers.modifier_mapping.setdefault("utf16le", sigma_modifiers.SigmaWideModifier)


def fold(text):
    """Simple case folding: one character stays one character."""
    if text.isascii():
        return text.lower()
    return "".join(fold_character(character) for character in text)


def fold_character(character):
    for folded in (character.casefold(), character.lower()):
        if len(folded) == 1:
            return folded
    return character


def text_of(scalar):
    if scalar is True:
        return "true"
    if scalar is False:
        return "false"
    if isinstance(scalar, float) and scalar.is_integer():
        return str(int(scalar))
    return str(scalar)


def number_of(scalar):
    if isinstance(scalar, bool) or scalar is None:
        return None
    try:
        return float(str(scalar).strip())
    except ValueError:
        return None


def text_test(value):
    """A predicate over texts for a Sigma string with its wildcards."""
    if any(isinstance(part, st.Placeholder) for part in value.s):
        return lambda text: False
    cased = isinstance(value, st.SigmaCasedString)
    change = (lambda text: text) if cased else fold
    parts = [part if isinstance(part, st.SpecialChars) else change(part) for part in value.s]
    multi, single = st.SpecialChars.WILDCARD_MULTI, st.SpecialChars.WILDCARD_SINGLE
    plain = [part for part in parts if not isinstance(part, st.SpecialChars)]
    if not any(part is multi or part is single for part in parts):
        whole = "".join(plain)
        return lambda text: change(text) == whole
    pattern = "".join(".*" if part is multi else "." if part is single else regex.escape(part) for part in parts)
    compiled = regex.compile(pattern, regex.DOTALL)
    return lambda text: compiled.fullmatch(change(text)) is not None


def time_of(scalar):
    text = str(scalar).strip().replace(" ", "T").replace("Z", "+00:00")
    try:
        when = datetime.datetime.fromisoformat(text)
    except ValueError:
        return None
    return when.astimezone(datetime.timezone.utc) if when.tzinfo else when


def time_part(when, part):
    name = part.name.lower()
    return when.isocalendar()[1] if name == "week" else getattr(when, name)


def compare(operator, left, right):
    return {
        "LT": left < right,
        "LTE": left <= right,
        "GT": left > right,
        "GTE": left >= right,
        "NEQ": left != right,
    }[operator.name]


def scalar_test(value):
    """A predicate over single scalars for one Sigma value; none for those that look at the field as a whole."""
    if isinstance(value, st.SigmaString):
        test = text_test(value)
        return lambda scalar: scalar is not None and test(text_of(scalar))
    if isinstance(value, st.SigmaTimestampPart):

        def at(scalar):
            when = time_of(scalar)
            return when is not None and time_part(when, value.timestamp_part) == value.number

        return at
    if isinstance(value, st.SigmaNumber):
        whole = text_of(value.number)
        return lambda scalar: scalar is not None and text_of(scalar) == whole
    if isinstance(value, st.SigmaBool):
        whole = text_of(value.boolean)
        return lambda scalar: scalar is not None and fold(text_of(scalar)) == whole
    if isinstance(value, st.SigmaRegularExpression):
        flags = 0
        for flag in value.flags:
            flags |= {"IGNORECASE": regex.I, "MULTILINE": regex.M, "DOTALL": regex.S}[flag.name]
        pattern = str(value.regexp)
        compiled = regex.compile(pattern, flags)
        return lambda scalar: scalar is not None and compiled.search(text_of(scalar)) is not None
    if isinstance(value, st.SigmaCIDRExpression):

        def inside(scalar):
            try:
                return ipaddress.ip_address(str(scalar)) in value.network
            except ValueError:
                return False

        return inside
    if isinstance(value, st.SigmaCompareExpression):

        def beyond(scalar):
            number = number_of(scalar)
            return number is not None and compare(value.op, number, float(value.number.number))

        return beyond
    return None


def field_test(name, value):
    if isinstance(value, st.SigmaExpansion):
        tests = [field_test(name, each) for each in value.values]
        return lambda event: any(test(event) for test in tests)
    if isinstance(value, st.SigmaNull):

        def null(event):
            present, scalars = event.field(name)
            return not present or any(scalar is None for scalar in scalars)

        return null
    if isinstance(value, st.SigmaExists):
        return lambda event: event.field(name)[0] == bool(value)
    if isinstance(value, st.SigmaFieldReference):

        def same(event):
            mine = [fold(text_of(scalar)) for scalar in event.field(name)[1] if scalar is not None]
            theirs = [fold(text_of(scalar)) for scalar in event.field(value.field)[1] if scalar is not None]
            if value.starts_with and value.ends_with:
                return any(b in a for a in mine for b in theirs)
            if value.starts_with:
                return any(a.startswith(b) for a in mine for b in theirs)
            if value.ends_with:
                return any(a.endswith(b) for a in mine for b in theirs)
            return any(a == b for a in mine for b in theirs)

        return same
    test = scalar_test(value)
    if test is None:
        raise ValueError(f"no reading of {type(value).__name__}")
    return lambda event: any(test(scalar) for scalar in event.field(name)[1])


def keyword_test(value):
    if isinstance(value, st.SigmaExpansion):
        tests = [keyword_test(each) for each in value.values]
        return lambda event: any(test(event) for test in tests)
    if isinstance(value, st.SigmaString):
        multi = st.SpecialChars.WILDCARD_MULTI
        if not value.startswith(multi):
            value = multi + value
        if not value.endswith(multi):
            value = value + multi
    elif isinstance(value, st.SigmaNumber):
        value = st.SigmaString(f"*{value.number}*")
    test = scalar_test(value)
    if test is None:
        raise ValueError(f"no reading of keyword {type(value).__name__}")
    return lambda event: any(test(leaf) for leaf in event.leaves())


def build(condition):
    if isinstance(condition, ConditionAND):
        tests = [build(each) for each in condition.args]
        return lambda event: all(test(event) for test in tests)
    if isinstance(condition, ConditionOR):
        tests = [build(each) for each in condition.args]
        return lambda event: any(test(event) for test in tests)
    if isinstance(condition, ConditionNOT):
        test = build(condition.args[0])
        return lambda event: not test(event)
    if isinstance(condition, ConditionFieldEqualsValueExpression):
        return field_test(condition.field, condition.value)
    if isinstance(condition, ConditionValueExpression):
        return keyword_test(condition.value)
    raise ValueError(f"no reading of {type(condition).__name__}")


class Rule:
    def __init__(self, parsed):
        self.id = str(parsed.id)
        source = parsed.logsource
        self.product, self.category, self.service = source.product, source.category, source.service
        tests = [build(condition.parsed) for condition in parsed.detection.parsed_condition]
        self.match = lambda event: any(test(event) for test in tests)


def load_document(document):
    parsed = SigmaRule.from_dict(document)
    if parsed.id is None:
        raise ValueError("the rule has no id")
    return Rule(parsed)


def load(folder):
    rules = []
    paths = [folder] if os.path.isfile(folder) else sorted(
        os.path.join(root, name)
        for root, _, names in os.walk(folder)
        for name in names
        if name.endswith((".yml", ".yaml"))
    )
    for path in paths:
        with open(path, encoding="utf-8") as stream:
            for document in yaml.safe_load_all(stream):
                if not isinstance(document, dict) or "detection" not in document:
                    continue
                try:
                    rules.append(load_document(document))
                except Exception as fault:  # every kind of rejection is reported the same way
                    print(f"rejected {path}: {fault}", file=sys.stderr)
    return rules
