"""Tags in code pages that nobody named: what was written is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memosync.audio import codepages

TITLES = {
    "cp1252": """Gespräch Müller|Größe|naïve café|Überraschung|El niño|Ärzte|Été|“quoted” – dash|Café
        Señor Núñez|¿Qué tal?
        ¡Hola!|À bientôt|Crème brûlée|Smørrebrød på torvet|Ça va|Conversa com João|Año nuevo
        Straße 5|Besprechung für Jörg
        œuvre|L’été dernier|Fußgänger|Ö|über|Voilà|Tür 4|ÄRZTE|À l'école|Discussão|l'Hôpital|10 € für Äpfel|20 °C|§ 5
        Überprüfung|Mädchen|Ich möchte|Ação|København|Åsa|Ångström|Mötesanteckningar|Ñandú|Garçon|Noël|é
        «Oui»|São Paulo|Viðtal við Þór|Það er|Fundur á Akureyri|Perù|Può essere|Hawaïaans|Razões|þörf|Þolinmæði|
        Zoë|Ný upptaka|Jón Þorláksson|Sigurður|Dýrð|Ýmislegt
        Ráðstefna í Reykjavík|þetta er gott|Örn|puuttuva ”e”|Žabljak|Saraj †""",
    "gbk": """长相思|会议记录|录音|你好|新录音 5|第一次会议|采访张三|语音备忘录|课堂录音2024|上海|北京 - 天安门
        电话录音|我的录音|周杰伦|讲座（上）|日记|笔记|家庭|项目讨论|客户电话|老师的课|2024年3月4日""",
    "cp932": """テスト録音|会議の録音|ボイスメモ|新規録音 5|打ち合わせ|インタビュー|田中さん|授業|おはよう
        ABC会議|メモ|日本語のテスト|録音""",
    "cp1251": """Привет мир|Лекция 3|Год|Запись|Новая запись 5|Интервью с Ивановым|разговор|Встреча|Лекция по физике
        мир|ПРИВЕТ|Совещание в понедельник|голос 001|Заметка|Звонок маме|Київ: розмова|Диктофон|урок|да
        Москва (утро)""",
    "koi8-r": "Привет мир|Лекция по физике|Новая запись|Интервью с Ивановым",
    "big5": "會議記錄|電話錄音|我的錄音|台灣大學|第一次會議",
    "cp949": "회의 녹음|안녕하세요|음성 메모|새로운 녹음|강의",
    "cp1250": """Zażółć gęślą jaźń|Příliš žluťoučký kůň|Książka|Wywiad z Łukaszem|wykład|Schůzka|Rozhovor s Jiřím|Večeře
        Děti|Píseň|Dům|Święta|Środa|Lekcja języka|Świnoujście|Győr|Szűcs|Gyűlés|Erdő|Tűz|Čakovec|Priča|Dievča|Večer
        Ljubljana – četrtek|Porada v piatok – čas|Interviu cu Ştefan|Lecţie|Discuţie|Sfârşit|Účet 12 €|Schůzka 15 €""",
    "cp1253": "Καλημέρα|Νέα εγγραφή|Συνέντευξη με τον Γιώργο",
    "cp1254": """Görüşme|Toplantı notları|Işık|İstanbul|Şarkı|Ses kaydı 3|Yeni kayıt|Doğum günü|Öğretmen toplantısı
        Müşteri görüşmesi|Kadıköy|Türkçe ders|Çalışma|Ayşe ile röportaj|Ders kaydı|günlük|Alışveriş listesi
        TOPLANTI İZMİR|Başkan|Düşünceler""",
    "cp1255": """שלום עולם|פגישה עם דוד|הקלטה חדשה|הקלטה 5|ראיון|שיעור בהיסטוריה|ישיבת צוות|תזכורת|יומן|ירושלים
        הרצאה ראשונה|שיחה עם אמא|תל אביב - פגישה""",
    "cp1256": """تسجيل جديد|اجتماع العمل|محاضرة|مقابلة مع أحمد|مذكرة صوتية|تسجيل 5|السلام عليكم|القاهرة|حوار
        درس اللغة العربية|ملاحظات""",
    "cp850": """Gespräch Müller|Größe|naïve café|El niño|Été|Café|Señor Núñez|Crème brûlée|Smørrebrød på torvet
        Straße 5|Besprechung für Jörg|über|Tür 4|Discussão|Mädchen|Ação|Fußgänger|Garçon|São Paulo|Reunião
        Conversa com João|Entrevista con José|Müller|Köln""",
    "cp866": "Привет мир|Лекция по физике|Новая запись|Интервью с Ивановым|Запись|разговор|Встреча|ПРИВЕТ",
    "mac_roman": """Gespräch Müller|Größe|naïve café|El niño|Été|“quoted” – dash|Café|Señor Núñez|Crème brûlée|über
        Straße 5|Besprechung für Jörg|L’été dernier|Fußgänger|Voilà|Tür 4|À l'école|Discussão|Mädchen|Ação|Garçon
        São Paulo|Reunião|Entrevista con José|Müller|Köln|Aujourd’hui|déjà vu""",
}
by_page = pytest.mark.parametrize("page", TITLES)


def titles(page: str) -> list[str]:
    return [title.strip() for line in TITLES[page].split("\n") for title in line.split("|")]


def escaped(text: str, page: str) -> str:
    """Give a text as PyAV does that takes its bytes for UTF-8, with errors as surrogates."""
    return text.encode(page).decode("utf-8", "surrogateescape")


@by_page
def test_a_title_in_an_old_code_page_is_read(page: str) -> None:
    wrong = [
        (title, found)
        for title in titles(page)
        if (found := codepages.mended([escaped(title, page), "plain", "Größe"])) != [title, "plain", "Größe"]
    ]

    assert wrong == []


@by_page
def test_a_title_that_went_for_latin_1_is_read(page: str) -> None:
    wrong = [
        (title, found)
        for title in titles(page)
        if (found := codepages.mended([title.encode(page).decode("latin-1")], latin=True)) != [title]
    ]

    assert wrong == []


@pytest.mark.parametrize("title", ["Gespräch", "长相思", "Привет", "テスト録音", "“quoted” – dash", "🎙"])
def test_utf_8_comes_first(title: str) -> None:
    assert [title] == codepages.mended([title])
    assert [title] == codepages.mended([title], latin=True)
    assert [title] == codepages.mended([title.encode().decode("latin-1")], latin=True)


def test_without_reason_latin_1_is_what_it_says() -> None:
    assert ["GesprÃ¤ch", "³¤Ïà"] == codepages.mended(["GesprÃ¤ch", "³¤Ïà"])


def test_all_tags_of_a_file_are_in_one_code_page() -> None:
    title, comment = "да", "Запись из деревни"

    assert [title, comment] == codepages.mended([escaped(title, "cp1251"), escaped(comment, "cp1251")])


@pytest.mark.parametrize(("page", "whole", "cut"), [("utf-8", "Gespräch mit Ä", 15), ("gbk", "语音备忘录", 9)])
def test_what_id3_cut_in_the_middle_of_a_letter_is_read_up_to_there(page: str, whole: str, cut: int) -> None:
    text = whole.encode(page)[:cut].decode("utf-8", "surrogateescape")

    assert [whole[:-1]] == codepages.mended([text])


@given(st.lists(st.binary(max_size=300)), st.booleans())
def test_any_bytes_become_text(values: list[bytes], latin: bool) -> None:
    texts = [value.decode("utf-8", "surrogateescape") for value in values]

    mended = codepages.mended(texts, latin=latin)

    assert len(texts) == len(mended)
    for text in mended:
        text.encode()  # no surrogates are left


@given(st.text(st.characters(codec="utf-8"), max_size=100))
def test_what_is_text_already_stays(text: str) -> None:
    assert [text] == codepages.mended([text])
