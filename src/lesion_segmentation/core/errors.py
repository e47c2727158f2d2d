"""The error for everything that the user can fix."""

from collections.abc import Sequence


class InputError(ValueError):
    """Data or settings that cannot be used. The message says what is wrong, what was expected and what to do.

    Functions raise it wherever a user has to act. The command line shows only the message, without a stack trace.

    Attributes:
        problems: The single problems of a report by `from_problems`, else empty.
    """

    problems: Sequence[str] = ()

    @classmethod
    def from_problems(cls, title: str, problems: Sequence[str], remedy: str, count: int | None = None) -> "InputError":
        """Report all problems of one input together. Pass their `count` if `problems` lists only the first ones."""
        count = len(problems) if count is None else count
        lines = [f"{title}: {pluralize(count, 'problem')}"]
        lines += [f"  - {problem}" for problem in problems]
        lines.append(remedy)
        error = cls("\n".join(lines))
        error.problems = problems
        return error


class RecipeError(InputError):
    """A training that diverged or needs too much memory. A search for a recipe continues with other parameters."""


def pluralize(number: int, noun: str, plural: str = "") -> str:
    """Return the number with its noun, such as "1 image" and "2 images"."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def find_input_error(error: BaseException | None) -> InputError | None:
    """Return the InputError that caused an error, directly or through the exceptions of a framework, or None."""
    while error is not None and not isinstance(error, InputError):
        error = error.__cause__
    return error


def first_line(error: object) -> str:
    """Return at most 200 characters of the first line of a message, without a final period, to quote it in another."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200].rstrip(".")
