"""Who is whose positive, which columns are there and which rows count: against loops over pairs of rows."""

from __future__ import annotations

import pytest
import torch

from pairwright.core.encoded import Encoded, Views
from pairwright.core.members import Members, local
from pairwright.core.numerics import generator, unit

B = 7
GROUP = torch.tensor([0, 1, 0, 2, 3, 3, 1])
IMAGE, TEXT = torch.tensor([1, 1, 0, 1, 1, 1, 1]).bool(), torch.tensor([1, 0, 1, 0, 1, 1, 0]).bool()
Z = {name: Encoded(unit(torch.randn(B, 4, generator=generator("members", name)))) for name in ("image", "text")}
ABSENT = [{}, {"image": IMAGE}, {"text": TEXT}, {"image": IMAGE, "text": TEXT}]


class Seen:
    """A row loss that notes what it is given and costs 1 for each positive, 100 for each column that is allowed."""

    needs, directions = ("image", "text"), "one"

    def rows(self, p):
        allowed = torch.ones_like(p.positives_bB) if p.allowed_bB is None else p.allowed_bB
        return (p.positives_bB.sum(1) + 100 * allowed.sum(1)).float() + 10_000 * p.row_b


@pytest.mark.parametrize("group", [None, GROUP])
@pytest.mark.parametrize("present", ABSENT)
@pytest.mark.parametrize("rows", [slice(0, 7), slice(2, 5)])
def test_the_sum_over_the_rows_that_count_is_the_loop(group, present, rows):
    who = Members.of(Views(Z, group_B=group, present=present), "image", "text")
    ids = list(range(B)) if group is None else group.tolist()
    query, key = (present.get(name, torch.ones(B).bool()).tolist() for name in ("image", "text"))
    positives = lambda i: sum(ids[j] == ids[i] and key[j] for j in range(B))
    counts = [query[i] and positives(i) > 0 for i in range(B)]
    expected = sum(positives(i) + 100 * sum(key) + 10_000 * i for i in range(B)[rows] if counts[i])
    assert float(who.total(Seen(), rows, Z["image"].rows(rows), Z["text"], torch.zeros(len(range(B)[rows]), B))) == expected
    assert int(who.n) == sum(counts)
    assert (who.size, who.start) == (B, 0)


def test_absent_rows_are_blank_and_keep_their_ids():
    broken = Z["text"].z_BD.clone()
    broken[~TEXT] = torch.nan
    e = Encoded(broken, aux={"ids": torch.arange(B)})
    found = local(Views({"text": e}, present={"text": TEXT}), "text")
    for i in range(B):
        assert torch.equal(found.z_BD[i], Z["text"].z_BD[i] if TEXT[i] else torch.zeros(4))
    assert found.aux["ids"].tolist() == list(range(B))
    assert local(Views({"text": e}), "text") is e


def test_views_of_different_length_are_refused():
    with pytest.raises(ValueError, match=r"'image' \(7 rows\) and 'text' \(3 rows\)"):
        Members.of(Views({"image": Z["image"], "text": Z["text"].rows(slice(0, 3))}), "image", "text")
