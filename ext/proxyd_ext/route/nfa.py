"""From the tree of a pattern to a nondeterministic automaton without empty moves.

First Thompson's construction (Regular Expression Search Algorithm, 1968): a list of instructions, each of which reads a byte, asks for the
beginning or the end of the text, or goes two ways. Then the empty moves are followed once and for all: what is left are *places*, at which
a byte is read, the end is asked for, or the match is complete, and for each place the set of places behind it. Sets of places are numbers,
bit n for place n.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from proxyd_ext.route.pattern import Begin, Byte, Either, End, Node, RegexError, Repeat

PLACES_MAX = 1024
VISITS_MAX = 20_000    # of tree nodes, with those that repeats copy: bounds what nests of empty groups cost
MATCH = 0              # the place at which the pattern has occurred


@dataclass(frozen=True, slots=True)
class Nfa:
    reads: Sequence[int]       # per place the set of bytes that it reads; 0 of MATCH and of the places that ask for the end
    follow: Sequence[int]      # per place the places behind it
    start: int                 # places before the first byte
    later: int                 # places that come in at every further byte, since a search may begin anywhere
    ends: int                  # places that are a match at the end of the text
    empty: bool                # the pattern occurs in the empty text


@dataclass(slots=True)
class _Instruction:
    """`of` set: reads a byte. `anchor` set: asks. Else: goes to `after` and to `other`."""

    after: int = -1
    other: int = -1
    of: int = 0
    anchor: str = ""


def build_nfa(tree: Node) -> Nfa:
    """RegexError where the automaton would be too large."""
    code = _Code()
    entry = code.emit(tree, MATCH)
    place_of = {MATCH: 0}
    for number, instruction in enumerate(code.instructions):
        if instruction.of or instruction.anchor == "$":
            place_of[number] = len(place_of)
    if len(place_of) > PLACES_MAX:
        raise code.too_large()
    reads, follow, ends = [0] * len(place_of), [0] * len(place_of), 0
    for number, place in place_of.items():
        instruction = code.instructions[number]
        reads[place] = instruction.of
        if instruction.of:
            follow[place] = code.reach(instruction.after, place_of, "")
        elif instruction.anchor and code.reach(instruction.after, place_of, "$") & 1:
            ends |= 1 << place
    return Nfa(
        reads, follow, code.reach(entry, place_of, "^"), code.reach(entry, place_of, ""), ends,
        bool(code.reach(entry, place_of, "^$") & 1),
    )


class _Code:
    def __init__(self) -> None:
        self.instructions = [_Instruction()]      # MATCH
        self.visits = 0

    def too_large(self) -> RegexError:
        return RegexError(0, f"the pattern is too large: written out it has more than {PLACES_MAX} characters")

    def add(self, instruction: _Instruction) -> int:
        self.instructions.append(instruction)
        return len(self.instructions) - 1

    def emit(self, node: Node, after: int) -> int:
        """Instructions for `node` that go on at `after`; returns where they begin."""
        self.visits += 1
        if self.visits > VISITS_MAX:
            raise self.too_large()
        if isinstance(node, Byte):
            # A class that holds no byte is a dead end: a split that leads nowhere.
            return self.add(_Instruction(after, of=node.of)) if node.of else self.add(_Instruction())
        if isinstance(node, Begin):
            return self.add(_Instruction(after, anchor="^"))
        if isinstance(node, End):
            return self.add(_Instruction(after, anchor="$"))
        if isinstance(node, Either):
            entry = self.emit(node.options[-1], after)
            for option in reversed(node.options[:-1]):
                entry = self.add(_Instruction(self.emit(option, after), entry))
            return entry
        if isinstance(node, Repeat):
            return self.repeat(node, after)
        for part in reversed(node.parts):
            after = self.emit(part, after)
        return after

    def repeat(self, node: Repeat, after: int) -> int:
        least, entry = node.least, after
        if node.most is None:
            loop = self.add(_Instruction(other=after))
            entry = self.instructions[loop].after = self.emit(node.part, loop)
            if least == 0:
                return loop
            least -= 1
        else:
            for _ in range(node.most - least):
                entry = self.add(_Instruction(self.emit(node.part, entry), after))
        for _ in range(least):
            entry = self.emit(node.part, entry)
        return entry

    def reach(self, entry: int, place_of: dict[int, int], holds: str) -> int:
        """The places that empty moves lead to from `entry`, where the anchors in `holds` are fulfilled."""
        found, seen, ahead = 0, {entry}, [entry]
        while ahead:
            number = ahead.pop()
            instruction = self.instructions[number]
            if number in place_of:
                found |= 1 << place_of[number]
                if instruction.anchor not in holds or not instruction.anchor:
                    continue
            elif instruction.anchor and instruction.anchor not in holds:
                continue
            for further in (instruction.after, instruction.other):
                if further >= 0 and further not in seen:
                    seen.add(further)
                    ahead.append(further)
        return found
