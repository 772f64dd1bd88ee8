"""Requests for promotion: who asks, who decides, and what an approval is of."""

from __future__ import annotations

import json

import pytest

from steelyard_contracts.errors import (
    AlreadyExistsError,
    AuthenticationError,
    ConflictError,
    ForbiddenError,
    GateRefusedError,
    InvalidInputError,
    InvalidNameError,
    NotFoundError,
)
from steelyard_platform.accounts.models import AuditRow
from steelyard_platform.accounts.permissions import ANONYMOUS, Role, Scope
from steelyard_platform.accounts.services import set_role
from steelyard_platform.accounts.tokens import actor_for_secret, actor_for_user
from steelyard_platform.repos.models import Alias, AliasMove, WebhookDelivery
from steelyard_platform.repos.services import delete_alias, delete_version, protect_alias
from steelyard_platform.repos.webhooks import Wishes, create_webhook
from steelyard_platform.weights import promotions
from steelyard_platform.weights.models import Promotion, PromotionEvent
from steelyard_platform.weights.services import add_gate, promote_version
from tests.support.factories import commit_files, make_repository, make_user, token_for

pytestmark = pytest.mark.django_db


@pytest.fixture
def model(owner, team):
    return make_repository(team, owner, "reader")


@pytest.fixture
def version(model, owner):
    return commit_files(model, owner, {"w": b"1"})


@pytest.fixture
def member(owner, team):
    """Makes somebody with a role in the team; an actor."""

    def make(role):
        user = make_user()
        set_role(team=team, username=user.username, role=role, actor=actor_for_user(owner))
        return actor_for_user(user)

    return make


@pytest.fixture
def author(member):
    return member(Role.CONTRIBUTOR)


@pytest.fixture
def maintainer(member):
    return member(Role.MAINTAINER)


@pytest.fixture
def guarded(model, owner):
    """production asks for one approval."""
    add_gate(repository=model, text="approved by 1 maintainer", applies_to="production", actor=actor_for_user(owner))
    return model


def ask(version, author, target="production", words="better on night pictures"):
    return promotions.request_promotion(version=version, target=target, words=words, actor=author)


def approve(promotion, actor, seen=None, words=""):
    return promotions.approve(promotion=promotion, seen=seen, words=words, actor=actor)


def carry_out(promotion, actor, **more):
    return promotions.carry_out(promotion=promotion, **{"reason": "", "override": False, **more}, actor=actor)


def stands_on(name="production"):
    alias = Alias.objects.select_related("version").filter(name=name).first()
    return alias.version.label if alias else None


def approvers(promotion):
    return [
        verdict.measured
        for verdict in promotions.standing_of(promotions.promotion_numbered(promotion.repository, 1)).verdicts
    ]


def test_asked_approved_and_carried_out_by_whoever_asked(guarded, version, author, maintainer):
    promotion = ask(version, author)
    with pytest.raises(GateRefusedError, match=r"no maintainer has approved it; 1 approval is asked\.$"):
        carry_out(promotion, author)
    approve(promotion, maintainer, seen="v1", words="looked at it")
    done = carry_out(promotion, author)
    assert (done.state, stands_on()) == ("carried_out", "v1")
    move = AliasMove.objects.get()
    assert done.move == move
    assert (move.actor, move.reason) == (author.name, "better on night pictures")
    assert move.verdicts[0]["sentence"] == f"approved by {maintainer.name}; 1 approval is asked"
    assert [event.step for event in PromotionEvent.objects.order_by("pk")] == ["approval", "carried_out"]
    actions = ["request promotion", "refused by gate", "approve promotion", "move alias"]
    audited = AuditRow.objects.filter(action__in=actions).order_by("pk")
    assert [(row.action, row.actor) for row in audited] == [
        ("request promotion", author.name),
        ("refused by gate", author.name),
        ("approve promotion", maintainer.name),
        ("move alias", author.name),
    ]


def test_the_approver_may_carry_it_out_too_and_a_plain_promotion_settles_it(guarded, version, author, maintainer):
    promotion = ask(version, author)
    approve(promotion, maintainer)
    promote_version(version=version, alias="production", reason="now", actor=maintainer)
    assert Promotion.objects.get().state == "carried_out"
    with pytest.raises(ConflictError, match="The promotion 1 was carried out already"):
        carry_out(promotion, maintainer)


def test_nobody_approves_what_they_asked_for(guarded, version, maintainer):
    promotion = ask(version, maintainer)
    with pytest.raises(ForbiddenError, match="Whoever asked for a promotion cannot approve it"):
        approve(promotion, maintainer)
    with pytest.raises(GateRefusedError, match="no maintainer has approved it"):
        carry_out(promotion, maintainer)


@pytest.mark.parametrize("role", [Role.READER, Role.CONTRIBUTOR])
def test_only_maintainers_approve_and_reject(guarded, version, author, member, role):
    promotion = ask(version, author)
    for verb in (approve, lambda one, who: promotions.reject(promotion=one, words="", actor=who)):
        with pytest.raises(ForbiddenError, match="may not manage model"):
            verb(promotion, member(role))
    assert not PromotionEvent.objects.exists()


def test_members_ask_whatever_their_role_and_strangers_do_not(owner, team, member):
    public = make_repository(team, owner, "shown", public=True)
    version = commit_files(public, owner, {"w": b"1"})
    with pytest.raises(ForbiddenError, match="may not propose changes to model"):
        ask(version, actor_for_user(make_user()))
    with pytest.raises(AuthenticationError, match="Sign in or send a token"):
        ask(version, ANONYMOUS)
    with pytest.raises(ForbiddenError, match="the token's scope is read"):
        ask(version, actor_for_secret(token_for(owner, Scope.READ)))
    reader = member(Role.READER)
    promotion = ask(version, reader)
    with pytest.raises(ForbiddenError, match="may not write"):
        carry_out(promotion, reader)
    carry_out(promotion, actor_for_user(owner))
    assert stands_on() == "v1"


def test_another_version_needs_another_approval(guarded, version, owner, author, maintainer, member):
    promotion = ask(version, author)
    approve(promotion, maintainer)
    assert approvers(promotion) == [1]
    newer = commit_files(guarded, owner, {"w": b"2"})
    with pytest.raises(ForbiddenError, match=f"Only {author.name}, who asked for it"):
        promotions.change_promotion(promotion=promotion, version=newer, target=None, words="", actor=maintainer)
    promotions.change_promotion(promotion=promotion, version=newer, target=None, words="a fix", actor=author)
    assert approvers(promotion) == [0]
    with pytest.raises(GateRefusedError, match="no maintainer has approved it"):
        carry_out(promotion, author)
    with pytest.raises(ConflictError, match="asks for v2 by now, not for v1; look at it again"):
        approve(promotion, member(Role.MAINTAINER), seen="v1")
    approve(promotion, maintainer, seen="v2")
    carry_out(promotion, author)
    assert stands_on() == "v2"


def test_another_name_needs_another_approval(guarded, version, owner, author, maintainer):
    add_gate(repository=guarded, text="approved by 1 maintainer", applies_to="staging", actor=actor_for_user(owner))
    promotion = ask(version, author, target="staging")
    approve(promotion, maintainer)
    promotions.change_promotion(promotion=promotion, version=None, target="production", words="", actor=author)
    with pytest.raises(GateRefusedError, match="no maintainer has approved it"):
        carry_out(promotion, author)


def test_an_approval_is_of_what_the_name_stood_on(guarded, version, owner, author, maintainer):
    """Whoever approved v1 in place of nothing has not said that it is better than v2."""
    promotion = ask(version, author)
    approve(promotion, maintainer)
    other = commit_files(guarded, owner, {"w": b"2"})
    promote_version(
        version=other, alias="production", reason="an emergency", override=True, actor=actor_for_user(owner)
    )
    with pytest.raises(GateRefusedError, match="no maintainer has approved it"):
        carry_out(promotion, author)
    approve(promotion, maintainer)
    carry_out(promotion, author)
    assert stands_on() == "v1"


def test_an_approval_does_not_outlive_the_approvers_role(guarded, version, owner, team, author, maintainer):
    promotion = ask(version, author)
    approve(promotion, maintainer)
    set_role(team=team, username=maintainer.name, role=Role.CONTRIBUTOR, actor=actor_for_user(owner))
    with pytest.raises(GateRefusedError, match="no maintainer has approved it"):
        carry_out(promotion, author)


def test_an_approval_serves_one_move(guarded, version, owner, author, maintainer):
    """The name went elsewhere and is to come back: that is a new question."""
    other = commit_files(guarded, owner, {"w": b"2"})
    for one in (version, other):
        promotion = ask(one, author)
        approve(promotion, maintainer)
        carry_out(promotion, author)
    delete_alias(repository=guarded, name="production", reason="", actor=actor_for_user(owner))
    with pytest.raises(GateRefusedError, match="no maintainer has approved it"):
        promote_version(version=version, alias="production", reason="", actor=author)


def test_two_approvals_are_of_two_people(model, version, owner, author, maintainer, member):
    add_gate(repository=model, text="approved by 2 maintainers", applies_to="*", actor=actor_for_user(owner))
    promotion = ask(version, author)
    approve(promotion, maintainer)
    with pytest.raises(AlreadyExistsError, match="You have approved v1 as production already"):
        approve(promotion, maintainer)
    with pytest.raises(GateRefusedError, match=f"approved by {maintainer.name}; 2 approvals are asked"):
        carry_out(promotion, author)
    approve(promotion, member(Role.ADMINISTRATOR))
    carry_out(promotion, author)


def test_a_rejection_ends_it_and_says_why(guarded, version, author, maintainer, member):
    promotion = ask(version, author)
    approve(promotion, member(Role.MAINTAINER))
    promotions.reject(promotion=promotion, words="too slow on gate-1", actor=maintainer)
    event = PromotionEvent.objects.latest("pk")
    assert (event.step, event.words, event.author_name) == ("rejection", "too slow on gate-1", maintainer.name)
    for again in (approve, carry_out):
        with pytest.raises(ConflictError, match="The promotion 1 was rejected already"):
            again(promotion, maintainer)
    with pytest.raises(GateRefusedError, match="no maintainer has approved it"):
        promote_version(version=version, alias="production", reason="", actor=maintainer)
    assert ask(version, author).number == 2


def test_withdrawn_by_whoever_asked(version, author, maintainer):
    promotion = ask(version, author)
    with pytest.raises(ForbiddenError, match=f"Only {author.name}"):
        promotions.withdraw(promotion=promotion, words="", actor=maintainer)
    promotions.withdraw(promotion=promotion, words="found a bug", actor=author)
    assert Promotion.objects.get().state == "withdrawn"


def test_a_protected_name_moves_by_a_maintainers_word_alone(version, owner, author, maintainer, model):
    promote_version(version=version, alias="production", reason="", actor=author)
    protect_alias(repository=model, name="production", protected=True, actor=actor_for_user(owner))
    newer = commit_files(model, owner, {"w": b"2"})
    promotion = ask(newer, author)
    with pytest.raises(ForbiddenError, match="may not manage model"):
        carry_out(promotion, author)
    approve(promotion, maintainer)
    with pytest.raises(ForbiddenError, match="may not manage model"):
        delete_alias(repository=model, name="production", reason="", actor=author)
    carry_out(promotion, author)
    assert stands_on() == "v2"


def test_an_override_of_a_request_takes_a_maintainer_and_a_reason(guarded, version, author, maintainer):
    promotion = ask(version, author)
    with pytest.raises(ForbiddenError, match="may not manage model"):
        carry_out(promotion, author, override=True, reason="hurry")
    with pytest.raises(InvalidInputError, match="Gates are overridden with a reason"):
        carry_out(promotion, maintainer, override=True)
    done = carry_out(promotion, maintainer, override=True, reason="nobody else is awake")
    assert done.move.overridden == ["no maintainer has approved it; 1 approval is asked"]
    assert AuditRow.objects.get(action="override gates").detail["reason"] == "nobody else is awake"


def test_what_cannot_be_asked_for(model, version, owner, author):
    with pytest.raises(InvalidNameError, match="alias name"):
        ask(version, author, target="no spaces")
    with pytest.raises(AlreadyExistsError, match="as a branch"):
        ask(version, author, target="main")
    first = ask(version, author)
    with pytest.raises(AlreadyExistsError, match="The promotion 1 asks for v1 as production already"):
        ask(version, actor_for_user(owner))
    with pytest.raises(InvalidInputError, match="At most 2000 letters"):
        ask(version, author, target="staging", words="x" * 2001)
    with pytest.raises(InvalidInputError, match="Say what is asked for instead"):
        promotions.change_promotion(promotion=first, version=None, target=None, words="", actor=author)
    carry_out(first, author)
    with pytest.raises(ConflictError, match="production is v1 already"):
        ask(version, author)
    with pytest.raises(NotFoundError, match="has no promotion 7"):
        promotions.promotion_numbered(model, 7)


def test_numbers_are_shared_with_proposals(version, owner, author):
    from steelyard_platform.repos.proposals import open_proposal

    first = ask(version, author)
    proposal = open_proposal(repository=version.repository, title="another card", actor=actor_for_user(owner))
    assert (first.number, proposal.number, ask(version, author, target="staging").number) == (1, 2, 3)


def test_a_version_that_was_deleted_can_only_be_taken_back(version, owner, author, maintainer, model):
    commit_files(model, owner, {"w": b"2"})
    promotion = ask(version, author)
    delete_version(version=version, actor=actor_for_user(owner))
    for verb in (approve, carry_out):
        with pytest.raises(ConflictError, match="The version that was asked for was deleted"):
            verb(promotion, maintainer)
    assert promotions.standing_of(promotions.promotion_numbered(model, 1)).verdicts == []
    promotions.withdraw(promotion=promotion, words="", actor=author)


def test_comments_are_for_members_and_hold_words(version, author):
    promotion = ask(version, author)
    with pytest.raises(InvalidInputError, match="A comment needs words"):
        promotions.comment_on(promotion=promotion, words=" ", actor=author)
    with pytest.raises(ForbiddenError):
        promotions.comment_on(promotion=promotion, words="hello", actor=actor_for_user(make_user()))
    promotions.comment_on(promotion=promotion, words="is it \0 fast?", actor=author)
    assert PromotionEvent.objects.get().words == "is it  fast?"


def test_those_who_watch_hear_of_it(guarded, version, owner, author, maintainer):
    wishes = Wishes(url="https://example.org/in", watched=[("model", str(guarded))])
    create_webhook(wishes=wishes, origin="http://hub", actor=actor_for_user(owner))
    promotion = ask(version, author)
    promotions.comment_on(promotion=promotion, words="please", actor=author)
    approve(promotion, maintainer)
    carry_out(promotion, author)
    told = [delivery.payload for delivery in WebhookDelivery.objects.order_by("pk")]
    assert [(one["event"]["scope"], one["event"]["action"]) for one in told] == [
        ("discussion", "create"),
        ("discussion.comment", "create"),
        ("discussion", "update"),
        ("repo.content", "update"),
        ("discussion", "update"),
    ]
    first, last = told[0]["discussion"], told[-1]["discussion"]
    assert (first["num"], first["title"], first["status"]) == (1, "v1 as production", "open")
    assert first["url"] == {
        "web": f"http://hub/{guarded}/promotions/1",
        "api": f"http://hub/api/v1/models/{guarded}/promotions/1",
    }
    assert last["status"] == "merged"
    assert told[1]["comment"]["content"] == "please"
    assert told[3]["updatedRefs"] == [{"ref": "refs/aliases/production", "oldSha": None, "newSha": version.commit_id}]
    assert json.dumps(told)


def test_a_list_costs_the_same_however_long_it_is(
    version, owner, author, maintainer, guarded, django_assert_max_num_queries
):
    promotion = ask(version, author)
    for _ in range(3):
        approver = make_user()
        set_role(team=guarded.team, username=approver.username, role=Role.MAINTAINER, actor=actor_for_user(owner))
        approve(promotion, actor_for_user(approver))
    with django_assert_max_num_queries(14):
        promotions.standing_of(promotions.promotion_numbered(guarded, 1))
