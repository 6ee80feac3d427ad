"""What is asked of an importer: a file that it does not read is refused in words, and left as it was."""

import json
from argparse import Namespace
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch

from sslcli.api import Offer, Options
from sslcli.errors import UserError
from sslcli.offers import Unfit
from sslcli.plugins import in_words, resolve
from sslcli.testing.examples import example_options
from sslcli.testing.results import expect


class ImporterCase:
    """An importer, and the options to call it with."""

    def __init__(self, offer: Offer) -> None:
        self.code: Callable[[Options, Any], Any] = resolve(offer.code)
        self.options = example_options(offer)

    def refusal(self, document: Any) -> UserError:
        """What it says of a document that it cannot read."""
        what = f"a document of {describe(document)}"
        try:
            made = self.code(self.options, document)
        except UserError as refused:
            return refused
        except Exception as error:
            raise Unfit(f"{what} ends in {in_words(error)}: raise UserError(message, hint)") from error
        raise Unfit(f"{what} is taken, and gives an {type(made).__name__}")


def prepare(offer: Offer) -> ImporterCase:
    """The importer with its example options."""
    return ImporterCase(offer)


def checks_of(offer: Offer) -> tuple[Callable[[ImporterCase], None], ...]:
    """The checks of an importer, in order."""
    return (
        refuses_an_empty_document,
        refuses_what_has_no_names,
        refuses_words_and_numbers,
        refuses_tensors_of_another_network,
        says_what_it_found_in_a_document_that_it_refuses,
        leaves_the_document_as_it_was,
    )


def refuses_an_empty_document(case: ImporterCase) -> None:
    """By a UserError, and no other exception."""
    documents: tuple[Any, ...] = ({}, OrderedDict(), {"state_dict": {}}, {"model": OrderedDict()})
    for document in documents:
        case.refusal(document)


def refuses_what_has_no_names(case: ImporterCase) -> None:
    """A file may hold a tensor, a list or nothing."""
    for document in (torch.zeros(2), [torch.zeros(2)], (), None, 3, "words", Namespace(epochs=1)):
        case.refusal(document)


def refuses_words_and_numbers(case: ImporterCase) -> None:
    """Where tensors are to be, there may be none, and keys may be numbers."""
    for document in ({"epoch": 3, "args": Namespace()}, {0: 1}, {"state_dict": {"weight": "heavy"}}, {"model": None}):
        case.refusal(document)


def refuses_tensors_of_another_network(case: ImporterCase) -> None:
    """Tensors whose names and shapes nobody knows, flat or wrapped."""
    for document in (foreign(), *({wrapper: foreign()} for wrapper in ("state_dict", "model", "teacher"))):
        case.refusal(document)


def says_what_it_found_in_a_document_that_it_refuses(case: ImporterCase) -> None:
    """The user sees a name out of the file, to tell which file it is."""
    refused = case.refusal(foreign())
    said = f"{refused.message} {refused.hint}"
    expect(any(name in said for name in foreign()), f"the error names nothing of the file: {refused.message!r}")


def leaves_the_document_as_it_was(case: ImporterCase) -> None:
    """Nothing is taken out of it, and no tensor is changed in place."""
    document = {"state_dict": foreign()}
    case.refusal(document)
    same = list(document) == ["state_dict"] and document["state_dict"].keys() == foreign().keys()
    expect(same, "it changes the document that it is given")
    expect(
        all(not tensor.any() for tensor in document["state_dict"].values()), "it changes the tensors of the document"
    )


def foreign() -> dict[str, torch.Tensor]:
    """The weights of a network that does not exist."""
    return {"zither.string.weight": torch.zeros(3, 2), "zither.string.bias": torch.zeros(3)}


def describe(document: Any) -> str:
    """A document, short."""
    return json.dumps(document, default=lambda value: type(value).__name__)
