"""Mutants of the kernels' sources: where one fits, what it changes, and how all of them share one build.

A mutant is a small fault: another operator, a bound or constant one off, a flag turned, a call left out, a product
rounded twice. All stand in the sources at once, each behind `mutant_on(number)`, which is true for the one that the
environment names when the modules are loaded. So one build serves all.
"""

import re
from bisect import bisect_right
from dataclasses import dataclass
from functools import cache

from mutating_by_hand import BY_HAND, BY_HAND_V4

SOURCES = {  # of each family, in src
    "activation": ("activation.pyx", "activations.h"),
    "affine": ("affine.pyx", "checks.pxd"),
    "batch": ("batch.pyx",),
    "conv": ("conv.pyx", "conv/correlation.pxd", "conv/layout.pxd", "conv/microkernel.h", "conv/weights.pxd"),
    "dropout": ("dropout.pyx",),
    "im2col": ("im2col.pyx", "windows.pxd"),
    "losses": ("losses.pyx",),
    "normalization": ("normalization.pyx",),
    "optim": ("optim.pyx", "step/rules.h"),
    "pool": ("pool.pyx", "pool_rows.h"),
    "predict": ("predict.pyx", "predict/flat.h", "predict/network.pxd"),
    "product": ("product/grid.pxd", "product/leftover.h", "product/microkernel.h", "product/narrow.h",
                "product/packing.h", "product/plan.pxd", "product/product.pxd", "product/rows.h", "product/shuffles.h",
                "product/tiles.pxd", "vectors.h"),
    "spatial": ("spatial.pyx", "plane_sums.h"),
    "step": ("step.pyx", "step/activating.pxd", "step/arguments.pxd", "step/arrays.pxd", "step/layout.pxd",
             "step/operands.pxd", "step/output_loss.pxd", "step/panels.pxd", "step/phases.pxd", "step/products.pxd",
             "step/rules.pxd", "step/update.pxd", "step/updating.h"),
    "threads": ("arithmetic.pxd", "runtime.pyx", "sharing.pxd", "threads/barrier.pxd", "threads/granted.pxd",
                "threads/pool.pxd", "threads/scratch.h", "threads/scratch.pxd", "threads/system.h",
                "threads/waiting.pxd"),
    # Of level v4 alone.
    "bf16": ("affine_bf16.pyx", "bf16/amx.h", "bf16/microkernel.h", "bf16/product.pxd", "bf16/rounding.pxd",
             "bf16/step.h", "bf16/step.pxd"),
}

# What the compiler knows where a level is built by GCC on Linux: other branches hold no mutants.
KNOWN = {
    "__GNUC__": 12, "__SSE2__": 1, "__AVX2__": 1, "__AVX512F__": 0, "__AVX512BF16__": 0, "__linux__": 1,
    "__x86_64__": 1, "__i386__": 0, "__aarch64__": 0, "__clang__": 0, "_WIN32": 0, "_MSC_VER": 0, "_M_X64": 0,
    "PLAIN_LOOPS": 0, "HAVE_VECTORS": 1, "_OPENMP": 1, "HAVE_ATOMICS": 1,
    "MADV_HUGEPAGE": 1, "DASECV_AMX": 0, "HAVE_BF16": 0, "HAVE_AMX": 0,
}
KNOWN_AT = {
    "v3": KNOWN,
    "v4": KNOWN | dict.fromkeys(("__AVX512F__", "__AVX512BW__", "__AVX512DQ__", "__AVX512VL__", "__AVX512BF16__",
                                 "DASECV_AMX", "HAVE_BF16", "HAVE_AMX"), 1),
}

TYPES = (r"(?:const )?(?:unsigned )?(?:real|float|double|int|char|void|bint|size_t|ptrdiff_t|Py_ssize_t|u?int\d+_t|"
         r"half_vec(?:_at|_int)?|vec(?:_at|_int)?|eight|unsigned|uintptr_t|[A-Z]\w*|step_\w+|tile_args|__m\w+|cnp\.\w+|"
         r"object|list|str|tuple|dict)(?: ?\*+)?")
COMMENT = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', re.DOTALL)
CYTHON_COMMENT = re.compile(r'"""(?:\\.|[^\\])*?"""|#[^\n]*|f?"(?:\\.|[^"\\\n])*"', re.DOTALL)
CAST = re.compile(rf"(?<!sizeof)(?<!\w)\({TYPES}\)(?=[\w(*&~+-])")
CYTHON_CAST = re.compile(rf"<{TYPES} ?>(?= ?[\w(&*])")
TOKEN = re.compile(
    r"0[xX][\dA-Fa-f]+\w*|(?:\d+\.\d*|\d+)(?:[eE][-+]?\d+)?[uUlLfF]*|[A-Za-z_]\w*|"
    r"<<=|>>=|//=|->|\+\+|--|<<|>>|//|\*\*|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|[^\s\w]")
ASSIGN = {"=", "+=", "-=", "*=", "/=", "//=", "%=", "&=", "|=", "^=", "<<=", ">>="}
WORDS = {"if", "elif", "else", "while", "return", "in", "and", "or", "not", "for", "is"}
OPENING, CLOSING = "([{", ")]}"

SWAPPED = {
    "arithmetic": {"+": "-", "-": "+", "*": "+", "/": "*", "//": "*", "%": "//", "+=": "-=", "-=": "+=", "*=": "+="},
    "comparison": {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "=="},
    "logic": {"and": "or", "or": "and", "&&": "||", "||": "&&", "&": "|", "|": "&", "<<": ">>", ">>": "<<"},
    "flag": {"True": "False", "False": "True", "min": "max", "max": "min"},
}
KINDS = ("arithmetic", "constant", "comparison", "left out", "logic", "flag", "rounding")


@dataclass(frozen=True)
class Mutant:
    family: str
    file: str
    line: int
    kind: str
    what: str
    begin: int     # what it stands in for, in characters of the file: an expression, or a whole statement
    end: int
    whole: bool
    text: str      # what stands there instead

    def __str__(self):
        return f"{self.file}:{self.line} {self.kind}: {self.what}"


def blank(pattern, text, keep=""):
    """Characters of what matches become spaces, so that places stay what they are; strings keep their quotes."""
    def spaces(match):
        found = match.group()
        inner = re.sub(r"[^\n]", " ", found)
        return f'"{inner[1:-1]}"' if keep and found.endswith(keep) and len(found) > 1 else inner
    return pattern.sub(spaces, text)


class Text:
    """One source file, in which comments, strings and casts do not show."""

    def __init__(self, file, text, level="v3"):
        self.level = level
        self.file, self.text, self.cython = file, text, not file.endswith(".h")
        if self.cython:
            self.seen = blank(CYTHON_CAST, blank(CYTHON_COMMENT, text, '"'))
        else:
            self.seen = blank(CAST, self._live(blank(COMMENT, text, '"')))
        self.starts = [0] + [match.end() for match in re.finditer("\n", text)]

    def line(self, place):
        return bisect_right(self.starts, place)

    def _live(self, text):
        """Without directives, and without what they leave out."""
        lines, stack, continued = [], [], False
        for line in text.split("\n"):
            directive = continued or line.lstrip().startswith("#")
            if directive and not continued:
                word, _, rest = line.lstrip().lstrip("#").strip().partition(" ")
                if word in ("if", "ifdef", "ifndef"):
                    holds = _condition(rest if word == "if" else f"defined({rest.strip()})", self.level)
                    holds = not holds if word == "ifndef" and holds is not None else holds
                    stack.append([holds is not False, holds is True])
                elif word == "elif":
                    holds = None if stack[-1][1] else _condition(rest, self.level)
                    stack[-1] = [not stack[-1][1] and holds is not False, stack[-1][1] or holds is True]
                elif word == "else":
                    stack[-1] = [not stack[-1][1], True]
                elif word == "endif":
                    stack.pop()
            continued = directive and line.endswith("\\")
            lines.append(" " * len(line) if directive or not all(live for live, _ in stack) else line)
        return "\n".join(lines)

    def statements(self):
        """(begin, end, indentation or None in C) of each statement inside a function, with its `;` or its line."""
        return self._cython_statements() if self.cython else self._c_statements()

    def _cython_statements(self):
        begin, depth, skipped = 0, 0, None
        for number, start in enumerate(self.starts):
            past = self.starts[number + 1] if number + 1 < len(self.starts) else len(self.seen)
            line = self.seen[start:past]
            if depth == 0:
                begin = start
            depth += sum(line.count(c) for c in OPENING) - sum(line.count(c) for c in CLOSING)
            if depth > 0:
                continue
            whole = self.seen[begin:past].rstrip()
            indent = len(whole) - len(whole.lstrip())
            if not whole.strip():
                continue
            if skipped is not None and indent > skipped:
                continue
            skipped = None
            if re.match(r"\s*(cdef (enum|struct|extern|union)|ctypedef)\b.*(:|[^)]:)$", whole, re.DOTALL) \
                    and not re.search(r"\(.*\)[^()]*:$", whole, re.DOTALL):
                skipped = indent
            elif indent and not NO_STATEMENT.match(whole):
                yield begin + indent, begin + len(whole), whole[:indent]

    def _c_statements(self):
        depth, round_, begin = 0, 0, None
        outer = []  # whether each open brace belongs to code
        for match in re.finditer(r"[(){};\[\]]", self.seen):
            c, place = match.group(), match.start()
            if c in "([":
                round_ += 1
            elif c in ")]":
                round_ -= 1
            elif c == "{":
                head = self.seen[begin if begin is not None else 0:place].rstrip()
                inside = begin is None or not head or head.endswith((")", ";", "{", "}", "else", "do"))
                code = round_ == 0 and (inside if depth else head.endswith(")"))
                if round_ == 0 and code and depth > 0 and begin is not None and self.seen[begin:place].strip():
                    yield self._trimmed(begin, place), place, None
                outer.append(code)
                if code:
                    depth += 1
                    begin = place + 1
            elif c == "}":
                if outer and outer.pop():
                    depth -= 1
                    begin = place + 1 if depth else None
            elif c == ";" and round_ == 0 and depth > 0 and all(outer):
                if begin is not None and self.seen[begin:place].strip():
                    yield self._trimmed(begin, place), place + 1, None
                begin = place + 1

    def _trimmed(self, begin, end):
        piece = self.seen[begin:end]
        return begin + len(piece) - len(piece.lstrip())


@cache
def _condition(text, level):
    """Whether #if holds; None if nobody knows."""
    known = KNOWN_AT[level]
    text = re.sub(r"defined\s*\(?\s*(\w+)\s*\)?",
                  lambda m: str(int(bool(known[m[1]]))) if m[1] in known else "unknown", text)
    text = re.sub(r"\bMR\b", "6", text)
    if "unknown" in text or re.search(r"[A-Za-z_]", text):
        return None
    return bool(eval(text.replace("&&", " and ").replace("||", " or ").replace("!", " not ").strip()))


# What changes the time alone: prefetches, and from which size on work is shared out.
UNTOUCHED = re.compile(
    r"prefetch|PREFETCH|PAUSE|threads_for\(|PICOSECONDS|picoseconds|__asm__|"
    r"^\s*(case|default|static|typedef|enum)\b|\bpass$")
OF_V4 = re.compile(r"bf16|BF16|AMX|amx")  # what level v3 never comes to
NO_STATEMENT = re.compile(r"\s*(def|@|from|import|raise|with|try|finally|else:|global|cdef .*\)[^=]*:$)")
HEADER = re.compile(r"\s*(?:(?:if|while|for|switch)\s*(?=\()|else\b|UNROLL\b|EACH\b|do\b)")
DECLARED = re.compile(
    r"(?:static |const |unsigned |struct )|[A-Za-z_]\w* (?:\*+ ?)?[A-Za-z_]\w*\b(?!\()|[A-Za-z_]\w* \*")


def body_of(text, begin, end):
    """Where a C statement begins, behind `if (...)`, `for (...)` and `else`."""
    while match := HEADER.match(text.seen, begin, end):
        begin = match.end()
        if text.seen[begin:begin + 1] == "(":
            depth = 0
            while begin < end:
                depth += (text.seen[begin] in "([") - (text.seen[begin] in ")]")
                begin += 1
                if depth == 0:
                    break
    piece = text.seen[begin:end]
    return begin + len(piece) - len(piece.lstrip())


def candidates(family, file, source, level="v3"):
    """Every mutant of a file; at level v4, those that level v3 has not, and barriers."""
    others = set(_all(family, file, source, "v3")) if level == "v4" and family != "bf16" else ()
    for mutant in _all(family, file, source, level):
        if mutant not in others or mutant.what.startswith("barrier_wait"):
            yield mutant


def _all(family, file, source, level):
    text = Text(file, source, level)
    for begin, end, indent in text.statements():
        piece = text.seen[begin:end]
        if UNTOUCHED.search(piece) or level == "v3" and OF_V4.search(piece):
            continue
        yield from _in_statement(text, family, begin, end, indent)


def _in_statement(text, family, begin, end, indent):
    seen = text.seen[begin:end]
    body = begin if text.cython else body_of(text, begin, end)
    declared = seen.startswith("cdef ") if text.cython else bool(DECLARED.match(text.seen, body, end)) \
        and not text.seen.startswith("return ", body)
    header = text.cython and bool(re.match(r"(if|elif|while|for)\b", seen))
    simple = not declared and not header and body < end and (text.cython or text.seen[end - 1] == ";")
    tokens = [(m.group(), begin + m.start(), begin + m.end()) for m in TOKEN.finditer(seen)]

    def made(kind, what, at, past, new):
        """At a place of the body the whole statement is replaced: the compiler sees the others as they were."""
        if simple and at >= body:
            span = (body, end)
        else:
            span = _span(text, tokens, at)
            if span is None or declared and at >= body and not _assigned(tokens, at, body):
                return None
        replaced = text.text[span[0]:at] + new + text.text[past:span[1]]
        return Mutant(family, text.file, text.line(at), kind, what, *span, simple and at >= body, replaced)

    found = []
    if simple and re.match(r"[\w.>\[\]+* -]*?(\w+\(|[\w\])] [-+*/]?= )", text.seen[body:end]) and \
            not re.match(r"return\b|\w+ = |\w+(, \w+)+ = ", text.seen[body:end]):
        short = " ".join(text.text[body:end].split())
        found.append(Mutant(family, text.file, text.line(body), "left out", short, body, end, True,
                            "pass" if text.cython else ";"))
    for k, (token, at, past) in enumerate(tokens):
        before = tokens[k - 1][0] if k else ""
        after = tokens[k + 1][0] if k + 1 < len(tokens) else ""
        operand = bool(re.match(r"[\w)\]]", before)) and before not in WORDS
        in_call = _callee(tokens, k)
        if in_call == "prange" and _keyword(tokens, k) or in_call in ("sizeof", "BF16_LANES") or before in ("->", ".") \
                or in_call == "range" and _position(tokens, k) == 2:
            continue
        for kind, table in SWAPPED.items():
            if token not in table:
                continue
            if kind in ("flag", "logic") and token.isalpha():
                if kind == "flag" and token in ("min", "max") and after != "(":
                    continue
            elif not operand or not re.match(r"[\w(&*~\-!+{\"<]", after) or declared and at >= body and token in ASSIGN:
                continue
            found.append(made(kind, f"{token} -> {table[token]}", at, past, table[token]))
        if re.fullmatch(r"\d+", token) and before != "[" or re.fullmatch(r"\d+", token) and after != "]":
            new = str(int(token) + 1) if int(token) < 2 or (at + len(token)) % 2 else str(int(token) - 1)
            found.append(made("constant", f"{token} -> {new}", at, past, new))
        elif re.fullmatch(r"\d+\.\d*(?:[eE]-?\d+)?", token) and float(token):
            found.append(made("constant", f"{token} -> {token} * 1.5", at, past, f"({token} * 1.5)"))
        elif token in ("not", "!") and after not in ("in", "=") and before != "is":
            found.append(made("logic", f"without {token}", at, past, ""))
        elif token == "vec_fma" and after == "(" and not text.cython:
            found.append(made("rounding", "a multiply-add rounded twice", at, past, "mutant_unfused"))
    yield from (mutant for mutant in found if mutant is not None)


def _leftwards(tokens, k):
    """(index, token) to the left of token k, past whole brackets and up to the one that opens around it."""
    depth = 0
    for i in range(k - 1, -1, -1):
        token = tokens[i][0]
        if token in CLOSING:
            depth += 1
        elif token in OPENING and depth:
            depth -= 1
        elif depth == 0:
            yield i, token
            if token in OPENING:
                return


def _callee(tokens, k):
    """The function whose arguments token k is among; "" if none."""
    return next((tokens[i - 1][0] for i, token in _leftwards(tokens, k) if token == "(" and i), "")


def _keyword(tokens, k):
    return next((token for _, token in _leftwards(tokens, k) if token in ASSIGN or token in (",", *OPENING)), "") == "="


def _position(tokens, k):
    """Which argument token k belongs to."""
    return sum(token == "," for _, token in _leftwards(tokens, k))


def _assigned(tokens, at, body):
    """Whether, in a declaration, `at` stands behind the = of its name."""
    depth, behind = 0, False
    for token, place, _ in tokens:
        if place >= at:
            break
        if place < body:
            continue
        depth += (token in OPENING) - (token in CLOSING)
        if depth == 0 and token == ",":
            behind = False
        if depth == 0 and token == "=":
            behind = True
    return behind


def _span(text, tokens, at):
    """The smallest whole expression around a place; None if it is one that is assigned to."""
    cython = text.cython
    edges = ASSIGN | {",", ";", ":"} | (set() if cython else {"?"})
    words = {"return", "in", "elif", "while"} | ({"if"} if cython else {"else"})
    k = next(i for i, token in enumerate(tokens) if token[1] == at)
    first = next((i + 1 for i, token in _leftwards(tokens, k) if token in OPENING or token in edges
                  or token in words and not (token in ("if", "in") and i)), 0)
    depth, last = 0, len(tokens) - 1
    for i in range(k, len(tokens)):
        token = tokens[i][0]
        if token in OPENING:
            depth += 1
        elif token in CLOSING:
            if depth == 0:
                last = i - 1
                break
            depth -= 1
        elif depth == 0 and token in edges and i > k:
            if token in ASSIGN:
                return None
            last = i - 1
            break
    if first > last:
        return None
    begin = tokens[first - 1][2] if first else tokens[0][1]  # a cast, which does not show, belongs to it
    return begin + len(text.text[begin:]) - len(text.text[begin:].lstrip()), tokens[last][2]


def by_hand(family, sources, level):
    """Faults that no operator makes, of mutating_by_hand.py."""
    for file, old, new, whole, what in (BY_HAND_V4 if level == "v4" else BY_HAND).get(family, ()):
        before, old = old.rpartition("|>")[::2]
        times = sources[file].count(before + old)
        if times != 1:
            raise ValueError(f"mutating_by_hand.py: {file} has {before + old!r} {times} times, expected once")
        begin = sources[file].find(before + old) + len(before)
        line = sources[file].count("\n", 0, begin) + 1
        yield Mutant(family, file, line, "by hand", what, begin, begin + len(old), whole, new)


def drawn(sources, families, count, random, level="v3"):
    """`count` mutants of each family, of every kind in turn, and every barrier left out. sources: text by file."""
    chosen, taken = [], {}

    def take(mutant):
        spans = taken.setdefault(mutant.file, {})
        key = (mutant.begin, mutant.end, mutant.whole)
        if any(begin < mutant.end and mutant.begin < end for begin, end, _ in spans.keys() - {key}):
            return False
        spans[key] = True
        chosen.append(mutant)
        return True

    for family in families:
        for mutant in by_hand(family, sources, level):
            if not take(mutant):
                raise ValueError(f"two mutants by hand are in each other's way: {mutant}")
        by_kind = {kind: [] for kind in KINDS}
        for file in SOURCES[family]:
            for mutant in candidates(family, file, sources[file], level):
                if mutant.kind == "left out" and "barrier_wait" in mutant.what:
                    take(mutant)
                else:
                    by_kind[mutant.kind].append(mutant)
        for pool in by_kind.values():
            random.shuffle(pool)
        wanted = count
        while wanted and any(by_kind.values()):
            for pool in by_kind.values():
                while pool and wanted:
                    if take(pool.pop()):
                        wanted -= 1
                        break
    return chosen


def inserted(file, source, numbered):
    """The source with its mutants, {number: mutant}; and the lines of the new text that each place of them takes, as
    (first, last, numbers)."""
    groups = {}
    for number, mutant in numbered.items():
        groups.setdefault((mutant.begin, mutant.end, mutant.whole), []).append(number)
    pieces, places, done, lines = [], [], 0, 1
    for (begin, end, whole), numbers in sorted(groups.items()):
        pieces.append(source[done:begin])
        lines += pieces[-1].count("\n")
        new = _chain(file, source, begin, end, whole, [(n, numbered[n].text) for n in numbers])
        places.append((lines, lines + new.count("\n"), numbers))
        lines += new.count("\n")
        pieces.append(new)
        done = end
    return "".join(pieces) + source[done:], places


def _chain(file, source, begin, end, whole, options):
    old = source[begin:end]
    if file.endswith(".h") or old.endswith(";"):
        if whole:
            return "{ " + "".join(f"if (mutant_on({n})) {{ {new} }} else " for n, new in options) + f"{{ {old} }} }}"
        return "(" + "".join(f"mutant_on({n}) ? ({new}) : " for n, new in options) + f"({old}))"
    if whole:
        indent = source[source.rfind("\n", 0, begin) + 1:begin]
        tests = "".join(f"{'el' if i else ''}if mutant_on({n}):\n{indent}    {new}\n{indent}"
                        for i, (n, new) in enumerate(options))
        return f"{tests}else:\n{indent}    {old}"
    # Without the cast, two kinds of truth in one choice would be a Python object.
    as_truth = "<bint> " if any(re.search(r"\b(and|or|not)\b", each) for each in (old, *dict(options).values())) else ""
    return "(" + "".join(f"{as_truth}({new}) if mutant_on({n}) else " for n, new in options) + f"{as_truth}({old}))"

