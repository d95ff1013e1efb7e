"""Fields and decisions are judged by the text, the labels' own words and the instruction, in several languages."""

from __future__ import annotations

import pytest

from keyless.mind.decisions import Decider
from keyless.mind.extraction import Extractor, Wanted, kind_of
from keyless.mind.filling import Filler
from keyless.mind.tasks import Task

TEXT, NUMBER, WHOLE, FLAG = {"type": "string"}, {"type": "number"}, {"type": "integer"}, {"type": "boolean"}
DAY = {"type": "string", "format": "date"}


def an_object(**properties):
    return {"type": "object", "properties": properties, "required": list(properties)}


def a_list(**properties):
    return an_object(rows={"type": "array", "items": an_object(**properties)})


@pytest.fixture(scope="module")
def fill(embedder):
    def filled(schema, text, told=""):
        return Filler(
            Decider(embedder), Extractor(embedder), Task(text, told), lambda prompt, most: "A sentence."
        ).fill(schema)

    return filled


# --- dates, numbers, names --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("Invoice date 03/04/2025, to be paid by the end of the month: $12.00", "2025-03-04"),
        ("Signed 03/04/2025; the notice period ends on 04/17/2026.", "2025-03-04"),
        ("Date: 03/04/2025. We met on March 1, 2025.", "2025-03-04"),
        ("Signed 03/04/2025; the notice period ends on 29/04/2026.", "2025-04-03"),
        ("Received on 03/04/2025, total £45.10.", "2025-04-03"),
        ("Fecha: 03/04/2025. Precio: 300 $.", "2025-04-03"),
        ("Livré le 03/04/2025, total 45,10 €.", "2025-04-03"),
        ("Geliefert am 03.04.2025.", "2025-04-03"),
        ("Geliefert am 3. März 2025.", "2025-03-03"),
        ("Le contrat commence le 1er août 2025.", "2025-08-01"),
        ("La entrega es el 5 de enero de 2025.", "2025-01-05"),
        ("La consegna è il 18 luglio 2025.", "2025-07-18"),
        ("Leveringen komt op 9 maart 2025.", "2025-03-09"),
        ("Доставка 3 апреля 2025.", "2025-04-03"),
        ("納品日は2025年4月3日です。", "2025-04-03"),
    ],
)
def test_a_date_is_read_as_its_document_writes_dates(fill, text, day):
    assert fill(an_object(date=DAY), text) == {"date": day}


@pytest.mark.parametrize(
    ("text", "amount", "currency"),
    [
        ("Gesamt: 1.240,50 EUR", 1240.5, "EUR"),
        ("Die Kaution beträgt 2.850 Euro.", 2850.0, "EUR"),
        ("Total : 1 240,50 €", 1240.5, "EUR"),
        ("Le loyer est de 720 francs suisses.", 720.0, "CHF"),
        ("Cuesta 300 pesos mexicanos.", 300.0, "MXN"),
        ("The grant is 4.8 million dollars.", 4_800_000.0, "USD"),
        ("Der Umsatz betrug 3,2 Millionen Euro.", 3_200_000.0, "EUR"),
        ("Ein Gewicht von 3,4 kg kostet 1.000 CHF.", 1000.0, "CHF"),
        ("Взнос: 1500 RUB", 1500.0, "RUB"),
    ],
)
def test_an_amount_is_read_as_its_document_writes_numbers(fill, text, amount, currency):
    assert fill(an_object(total=NUMBER, currency=TEXT), text) == {"total": amount, "currency": currency}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("hello, my name is tom baker and my parcel is lost", "tom baker"),
        ("hi its maria lopez here, please call me", "maria lopez"),
        ("Здравствуйте, это Иван Петров из Казани.", "Иван Петров"),
        ("Ο πελάτης Νίκος Παπαδόπουλος περιμένει.", "Νίκος Παπαδόπουλος"),
        ("氏名: 山田太郎\n電話: 03-5550-1234", "山田太郎"),
        ("The invoice goes to Marcy Dunn.", "Marcy Dunn"),
        ("Kundin Anke Schröder wartet.", "Anke Schröder"),
    ],
)
def test_names_in_lower_case_and_in_any_script(fill, text, name):
    field = "氏名" if "氏名" in text else "customer"
    assert fill(an_object(**{field: TEXT}), text) == {field: name}


def test_no_is_a_kind_only_at_the_end_of_a_name():
    assert kind_of(Wanted("invoice_no")) == "code"
    assert kind_of(Wanted("remark", "Say yes or no")) == ""
    assert kind_of(Wanted("style", "There is no rule, no markdown")) == ""


@pytest.mark.parametrize("field", ["customer", "city", "company"])
def test_what_the_text_does_not_name_is_no_phrase_of_it(fill, field):
    assert fill(an_object(**{field: TEXT}), "he said nothing about it and left early") == {field: "unknown"}


# --- what is true -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "statement", "holds"),
    [
        ("Sales fell by 12 percent.", "Whether sales increased", False),
        ("Sales rose by 12 percent.", "Whether sales increased", True),
        ("Temperatures dropped overnight.", "Whether temperatures went down", True),
        ("Nobody has fixed it yet.", "Whether the problem is resolved", False),
        ("The pump was repaired at noon.", "Whether the problem with the pump is resolved", True),
        ("The lift is still broken.", "Whether the lift was fixed", False),
        ("The gate was left open.", "Is the gate closed?", False),
        ("The gate is not open.", "Is the gate closed?", True),
        ("The board rejected the plan.", "Was the plan approved?", False),
        ("The board accepted the plan without changes.", "Was the plan approved?", True),
        ("The build failed on Monday.", "True if the build passed", False),
        ("Our team lost the final.", "Whether our team won the final", False),
        ("The concert was cancelled.", "Whether the concert takes place", False),
        ("The water is unsafe to drink.", "Whether the water is safe", False),
        ("The report is incomplete.", "Whether the report is complete", False),
    ],
)
def test_negation_and_direction(embedder, text, statement, holds):
    assert Decider(embedder).holds(text, "verdict", statement) is holds


@pytest.mark.parametrize(
    ("text", "statement", "holds"),
    [
        ("Is the lamp in stock?", "Whether the customer asks a question", True),
        ("The lamp is in stock.", "Whether the customer asks a question", False),
        ("All questions on the form were answered.", "Whether all questions on the form were answered", True),
    ],
)
def test_the_word_question_is_no_question_mark(embedder, text, statement, holds):
    assert Decider(embedder).holds(text, "verdict", statement) is holds


def test_a_flag_whose_name_says_nothing_is_asked_by_the_instructions(fill):
    told = "You read reports. Decide whether sales increased."
    assert fill(an_object(holds=FLAG), "Sales rose by 12 percent.", told) == {"holds": True}
    assert fill(an_object(holds=FLAG), "Sales fell by 12 percent.", told) == {"holds": False}


# --- labels -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told", "label"),
    [
        ("The tank is nearly empty.", "How full is the tank?", "low"),
        ("The glass is filled to the brim.", "How full is the glass?", "high"),
        ("Very few people came.", "How high was the attendance?", "low"),
        ("The whole office is unable to work, orders of all customers fail.", "What is the priority?", "high"),
        ("There is a spelling mistake in the footer.", "What is the severity of this incident?", "low"),
    ],
)
def test_low_and_high_are_of_what_is_asked(fill, text, told, label):
    assert fill(an_object(level={"enum": ["low", "medium", "high"]}), text, told) == {"level": label}


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("Der Toaster ist nach einer Woche kaputt gegangen, ich bin enttäuscht.", "negative"),
        ("Alles bestens, vielen Dank für die schnelle Hilfe!", "positive"),
        ("Los zapatos llegaron rotos y nadie contesta.", "negative"),
        ("Estoy encantada, todo funciona muy bien.", "positive"),
        ("Le colis est arrivé cassé, je suis très déçue.", "negative"),
    ],
)
def test_complaints_in_other_languages(fill, text, label):
    schema = an_object(sentiment={"enum": ["positive", "negative", "neutral"]})
    assert fill(schema, text, "What is the sentiment?") == {"sentiment": label}


@pytest.mark.parametrize("keyword", ["anyOf", "oneOf"])
def test_alternatives_of_one_value_are_a_choice(fill, keyword):
    teams = {"billing": "invoices and refunds", "technical": "errors and outages", "shipping": "parcels and delivery"}
    schema = an_object(team={keyword: [{"const": name, "description": said} for name, said in teams.items()]})
    assert fill(schema, "Where is my parcel?") == {"team": "shipping"}
    assert fill(schema, "The page shows an error.") == {"team": "technical"}
    titled = an_object(team={keyword: [{"const": i, "title": said} for i, said in enumerate(teams.values())]})
    assert fill(titled, "Where is my parcel?") == {"team": 2}


@pytest.mark.parametrize(
    "told",
    [
        "The category is one of: billing, technical, shipping.",
        "Categories: billing, technical, shipping.",
        "category: billing | technical | shipping",
        "Set category to billing, technical or shipping.",
        "The category must be billing, technical or shipping. The summary is short.",
    ],
)
def test_labels_that_the_prompt_lists_for_a_plain_string(fill, told):
    schema = an_object(category=TEXT, days=WHOLE)
    assert fill(schema, "My parcel is late by 4 days.", told) == {"category": "shipping", "days": 4}


def test_labels_that_a_description_lists_for_a_plain_string(fill):
    schema = an_object(tone={**TEXT, "description": "One of 'formal' or 'informal'"}, city=TEXT)
    assert fill(schema, "hey dude, see you in Lisbon")["tone"] == "informal"
    # What only sounds like a list of labels is none.
    schema = an_object(payer={**TEXT, "description": "The person or company that pays"})
    assert fill(schema, "The bill is paid by Ana Costa.") == {"payer": "Ana Costa"}


def test_several_labels_where_several_are_asked_for(fill):
    tasks = ["handle_positive", "handle_shipping", "handle_packaging", "handle_billing"]
    schema = an_object(tasks={"type": "array", "items": {"enum": tasks}})
    text = "This product is great but shipping was slow and the box was damaged."
    assert fill(schema, text, "Select all categories that apply to this review.") == {"tasks": tasks[:3]}


# --- lists and material -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "text", "rows"),
    [
        (
            a_list(name=TEXT, quantity=WHOLE, price=NUMBER),
            "Order: 2 lamps at 49.90 EUR, 1 desk at 399.00 EUR and 3 chairs at 20.00 EUR.",
            [("lamps", 2, 49.9), ("desk", 1, 399.0), ("chairs", 3, 20.0)],
        ),
        (
            a_list(description=TEXT, quantity=WHOLE, price=NUMBER),
            "Cafe Aurora\n3 x Espresso 7.50\n1 x Cheesecake 4.20\nTotal 11.70 EUR",
            [("Espresso", 3, 7.5), ("Cheesecake", 1, 4.2)],
        ),
        (
            a_list(name=TEXT, city=TEXT),
            "Present were Ana Costa from Lisbon, Ben Ito from Osaka and Eva Lund from Malmö.",
            [("Ana Costa", "Lisbon"), ("Ben Ito", "Osaka"), ("Eva Lund", "Malmö")],
        ),
        (
            a_list(task=TEXT, owner=TEXT, due=DAY),
            "- Update the runbook: Bo Larsen, by 3 May 2025\n- Call the supplier: Ana Costa, by 9 May 2025",
            [("Update the runbook", "Bo Larsen", "2025-05-03"), ("Call the supplier", "Ana Costa", "2025-05-09")],
        ),
        (
            a_list(product=TEXT, price=NUMBER),
            "| Product | Price |\n|---|---|\n| Lamp | 49.90 |\n| Desk | 399.00 |",
            [("Lamp", 49.9), ("Desk", 399.0)],
        ),
        (
            a_list(artikel=TEXT, menge=WHOLE, preis=NUMBER),
            "2 Lampen zu je 49,90 €; 1 Tisch zu 399,00 €.",
            [("Lampen", 2, 49.9), ("Tisch", 1, 399.0)],
        ),
    ],
    ids=["prose", "receipt", "people", "bullets", "table", "German"],
)
def test_a_list_has_one_object_for_each_item(fill, schema, text, rows):
    assert [tuple(row.values()) for row in fill(schema, text)["rows"]] == rows


def test_the_instructions_are_read_where_the_question_has_no_material(fill):
    told = "You read invoices. Invoice INV-2207 of Nordlicht GmbH, total 75.00 EUR, due on 3 May 2025."
    schema = an_object(invoice_number=TEXT, total=NUMBER, due=DAY)
    wanted = {"invoice_number": "INV-2207", "total": 75.0, "due": "2025-05-03"}
    assert fill(schema, "Extract the fields.", told) == wanted
    # A question with material of its own is not mixed up with an example in the instructions.
    assert fill(schema, "Invoice INV-9, total 12.00 EUR, due on 4 June 2025.", told)["invoice_number"] == "INV-9"
