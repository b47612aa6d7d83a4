"""What is done to the code: a choice of cosmic-ray's operators, and one of our own.

cosmic-ray replaces every operator by every other. Of those that replace one operator we keep the
nearest neighbour, which is what tests miss: where ``<`` as ``<=`` is found, ``<`` as ``is`` is too.
It has nothing that takes a statement away, which is the fault of a protocol: a step left out.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from cosmic_ray import plugins
from cosmic_ray.operators.operator import Example, Operator
from parso.python.tree import Keyword

_NEIGHBOURS = (
    "ReplaceComparisonOperator_Lt_LtE", "ReplaceComparisonOperator_LtE_Lt",
    "ReplaceComparisonOperator_Gt_GtE", "ReplaceComparisonOperator_GtE_Gt",
    "ReplaceComparisonOperator_Eq_NotEq", "ReplaceComparisonOperator_NotEq_Eq",
    "ReplaceComparisonOperator_Is_IsNot", "ReplaceComparisonOperator_IsNot_Is",
    "ReplaceBinaryOperator_Add_Sub", "ReplaceBinaryOperator_Sub_Add",
    "ReplaceBinaryOperator_Mul_Add", "ReplaceBinaryOperator_FloorDiv_Mul",
    "ReplaceBinaryOperator_Div_Mul", "ReplaceBinaryOperator_Mod_Mul",
    "ReplaceBinaryOperator_BitOr_BitAnd", "ReplaceBinaryOperator_BitAnd_BitOr",
    "ReplaceBinaryOperator_LShift_RShift", "ReplaceBinaryOperator_RShift_LShift",
    "ReplaceUnaryOperator_Delete_USub", "ReplaceUnaryOperator_Delete_Not",
    "ReplaceUnaryOperator_Delete_Invert",
)  # fmt: skip
_WHOLE = (
    "AddNot", "ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ReplaceAndWithOr",
    "ReplaceOrWithAnd", "ReplaceBreakWithContinue", "ReplaceContinueWithBreak",
    "ExceptionReplacer", "NumberReplacer", "ZeroIterationForLoop",
)  # fmt: skip
REMOVE = "RemoveStatement"


class RemoveStatement(Operator):
    """Takes away a call, a raise, or an assignment to something that is there already."""

    def mutation_positions(self, node: Any) -> Any:
        if _removable(node):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        # As many lines as it had, so that the function behind it stays where it was.
        lines = node.end_pos[0] - node.start_pos[0]
        text = "(" + "\n" * lines + ")" if lines else "pass"
        return Keyword(text, node.start_pos, node.get_first_leaf().prefix)

    @classmethod
    def examples(cls) -> Any:
        return (Example("go()", "pass"), Example("self.x = 1", "pass"))


def _removable(node: Any) -> bool:
    if node.parent is None or node.parent.type != "simple_stmt":
        return False
    if node.type == "del_stmt":
        # Without its name a parameter that is not used stays until the end, which nobody sees.
        return node.children[1].type != "name"
    if node.type == "raise_stmt":
        return True
    if node.type == "expr_stmt":
        # Without its first assignment a name is unknown, which every test finds.
        target, sign = node.children[0], node.children[1]
        return target.type == "atom_expr" or getattr(sign, "value", "=") != "="
    if node.type in ("atom_expr", "power"):
        return node.children[-1].type == "trailer" and node.children[-1].children[0].value == "("
    return False


@cache
def operators() -> dict[str, Operator]:
    """Every operator by its name."""
    found = {name: plugins.get_operator(f"core/{name}")() for name in (*_NEIGHBOURS, *_WHOLE)}
    return {**found, REMOVE: RemoveStatement()}
