"""Text in a code page that nobody named, as older recorders and taggers write it.

UTF-8 where it can be. Otherwise each page is asked how many bits its language spends on these characters: frequent
letters few, signs among letters many. Titles are short: of 243 of those in the tests charset-normalizer 3.5 read 40,
chardet 7.7 read 192; of Größe they made åÊ6ÿÁ and Grˆþe.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from .bigrams import CENTRAL, WESTERN

_CERTAIN = 2.0  # bits, to doubt what says that it is Latin-1
_ENOUGH, _MANY = 200, 20  # bytes of a value that are looked at, and values
_LATIN = "éäöüßèàçñáíóúâêîôûåøæãõëïœìòùÿ"
_SLAVIC = "ěščřžýáíéůúňťďąęćłńóśżźäöüőűôľĺŕăâîțşđţ"
_ICELANDIC = "ðáíþóæéöýú"
_TURKISH = "ıüşçöği\u0307âîû"  # İ in lower case is i and a dot
_LATINS = (_LATIN, _SLAVIC, _ICELANDIC, _TURKISH)
_RUSSIAN = "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфъіїєґёўјћљњђџ"
_GREEK = "αοιετσνηυρπκμλςάίόήγδέύθχώφβξζψϊϋΐΰ"
_HEBREW = "יוהלאתרמבשנםעקחדכספטגצןזךףץ"
_ARABIC = "اليمنترعوبدسفهةكقحجشصطخذضزثغأءىإئظؤآگپچکژ"
_QUOTES = "«»–—“”‘’„…€£§°·´`¡¿\u00a0№†‡•"
_HAN = (  # that make up half of what is written, and those of recorders
    "的一是不了在人有我他这这個们們中来來上大为為和国國地到以说說时時要就出会會可也你对對生能而子那得于於着下自之年过過发發后後作里道行所然家"
    "种種事成方多经經么麼去法学學如都同现現当當没沒动動面起看定天分还還进進好小部其些主样樣理心她本前开開但因只从從想实實日军者意无無力它"
    "与與长長把机機十民第公此已工使情明性知全三又关關点點正业業外将將两兩高间間由问問很最重并物手应應战向头頭文体體政美相见見被利什二等产"
    "或新己制身果加西月话話合回特代内內信表化老给給世位次度门門任常先海通教儿兒原东東声聲提立及比员員解水名真论論处處走义各入几口认認条"
    "平系气氣题題活更别打女变變四神总總何电電数數安少报報才结結反受目太量再感建务務做接必场場件计管期市直德资命山金指统区區形社便空治"
    "思录錄録音记記备備忘语語采访訪讲講课課议議谈談笔筆周週星早晚午歌曲师師客户项項目讨討北京台灣湾香港授業田本語打業今午後"
)
_KOREAN = (
    "이다는을의에가고하지한기로도사리자은시어서아나인정대라그해들게스부일만전보원수주상제안녕세요음성메모회새운녹강"
    "여와과면장소니"
)
_SIGNS = "、。・！？：（）「」『』《》〈〉，；～ー　“”‘’…—々"
_FOREIGN, _MOST = 8.0, 3  # bits of letters side by side as nobody in the West puts them; how many count
_OPENING = "¡¿£§«“„"  # what begins a word
_MIXED = (8.0, 12.0)  # bits of another script within a word: in East Asia, elsewhere
_ODD, _SIGN, _LOWER = 6.0, 9.0, 3.0  # bits of a letter or a sign where no language puts it; of a small first letter
_ODD_LATIN = (  # as French, Italian, Spanish and Portuguese put them
    r"è(?![^\W_]{1,2}[eèi]|ques?\b|s?\b)|(?<![aoeu])ï|û(?=[aeiouû])|[ìù]\B|ê\b|ç(?![aouãõéáôâ])|î\b|õ(?!e|i)|\Bã(?![oes])"
    r"|î(?=[ln][^e])|ä\b|ñ(?![aeioué])|\bú[aeou]|\bå(?![klnrst])|\b[äöüôîäáíóúëï]\b|\b([äöô])[^\W_]*[öô]\b"
)
_WRITTEN = "[ -\u06ff\u0900-\u0e7f\u1e00-\u1fff\u2010-\u203f\u3000-\u30ff\u4e00-\u9fff\uac00-\ud7a3\uff00-\uffef]"
_IN_WORDS = r"(?<=[^\W\d_])[‘“”„‹›«»–—€£§°¡¿†‡•](?=[^\W\d_])|€[a-z]|ÿ|aá|áe\b|\Bæo"  # what no word has
_NO_VOWEL = r"\b(?=[^\W_]*[^\x00-\x7f])(?![^\W_]*[aeiouyáéíóúýěůąęöüäăâîőű])[^\W\d_]{3,}\b"
_NO_RUSSIAN = r"\b[ъьы]|ъ\b|\bй(?!о)|щ[^\W_аеёиоуьнрв]|\b[бгджйклмнпртфхцчшщ]{3}"


@dataclass(frozen=True, slots=True)
class _Page:
    """A code page and who writes in it."""

    name: str
    bits: float  # by how much rarer it is than cp1252
    letters: str = ""  # beyond ASCII, the most frequent first
    leads: range | None = None  # first bytes of the pairs that are in everyday use
    extended: bool = False  # second bytes below 0xA1 are as usual as others
    odd: str = r"\b\B"  # what of its letters, in lower case, there hardly is

    @property
    def is_latin(self) -> bool:
        return self.letters in _LATINS


_PAGES = [
    _Page("cp1252", 0, _LATIN),
    _Page("gbk", 2, leads=range(0xB0, 0xD8)),  # GB 2312, level 1
    _Page("cp932", 2, leads=range(0x88, 0x99), extended=True),  # JIS X 0208, level 1
    _Page("cp1251", 4, _RUSSIAN, odd=_NO_RUSSIAN),
    _Page("cp1250", 5, _SLAVIC, odd=_NO_VOWEL),
    _Page("big5", 5, leads=range(0xA4, 0xC7), extended=True),  # level 1
    _Page("cp949", 5, leads=range(0xB0, 0xC9)),  # KS X 1001, syllables
    _Page("koi8-r", 10, _RUSSIAN),
    _Page("cp1253", 10, _GREEK),
    _Page("cp1252", 3, _ICELANDIC, odd=r"\Bþ|\bð|[aeiouyáéíóúæö][^\W_]*ý|\bý(?![mr])"),
    _Page(
        "cp1254",
        4,
        _TURKISH,
        odd=r"(?<![aeıioöuü\u0307])ğ|ğ\b|(?:\b|\B[eioöuü])[^\Waeıioöuü]*ı|\b[^\Waeıioöuü][vyz]|[qwx]",
    ),
    _Page("cp1255", 9, _HEBREW, odd=r"[םןךףץ](?=[א-ת])|[כמנפצ]\b"),
    _Page("cp1256", 9, _ARABIC, odd=r"[ةى]\B"),
    _Page("cp850", 6, _LATIN, odd=_ODD_LATIN),
    _Page("cp866", 10, _RUSSIAN),
    _Page("mac_roman", 6.5, _LATIN, odd=_ODD_LATIN),
]


def mended(texts: Sequence[str], *, latin: bool = False) -> list[str]:
    """Read the tags of one file, whose bytes were taken for UTF-8 with errors as surrogates (PEP 383).

    With `latin` what is Latin-1 may be anything else, too: ID3 has no other word for text of one byte a character.
    """
    raw = [_raw(text, latin) for text in texts]
    unknown = [data for data in raw if data is not None and _utf8(data) is None]
    page = _guess([data[:_ENOUGH] for data in unknown[:_MANY]], _CERTAIN if latin else 0) if unknown else ""
    return [
        text if data is None else _utf8(data) or _decoded(data, page) for text, data in zip(texts, raw, strict=True)
    ]


def utf16(data: bytes) -> str:
    """Read UTF-16 up to its first NUL; nothing where it is something else.

    It begins with its mark, or most of it is in alphabets: of no text of single bytes every second one is that small.
    """
    marked = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    for page in ("utf-16",) if marked else ("utf-16-le", "utf-16-be"):
        text = data[: len(data) & ~1].decode(page, "replace").partition("\0")[0]
        if marked or 2 * sum(char < "\u0700" for char in text) > len(text):
            return text
    return ""


def unmarked_utf16(data: bytes) -> str:
    """Read UTF-16 without its mark up to its first NUL, in the order of bytes that gives what people write."""
    texts = [data[: len(data) & ~1].decode(page, "replace").partition("\0")[0] for page in ("utf-16-le", "utf-16-be")]
    return max(texts, key=lambda text: len(re.findall(_WRITTEN, text)))


def _raw(text: str, latin: bool) -> bytes | None:
    """Give the bytes that were read as this text; None where they were read well."""
    if latin and not text.isascii() and max(text) <= "\xff":
        return text.encode("latin-1")
    return text.encode("utf-8", "surrogateescape") if re.search("[\udc80-\udcff]", text) else None


def _utf8(data: bytes) -> str | None:
    """Read UTF-8, also when it was cut within a character; None when it is something else."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        begun = data[: error.start]
        cut = error.reason == "unexpected end of data" and not begun.isascii()
        return begun.decode() if cut else None


def _decoded(data: bytes, page: str) -> str:
    """Read it; half a pair at its end, where ID3 cut it, is dropped."""
    try:
        return data.decode(page)
    except UnicodeDecodeError as error:
        return data[: error.start].decode(page) if error.start == len(data) - 1 else data.decode(page, "replace")


def _guess(values: list[bytes], margin: float) -> str:
    """Name the code page that explains them best; cp1252 unless another one does by so many bits."""

    def bits(page: _Page) -> float:
        return page.bits + sum(_bits(data, page) for data in values) - margin * (page.name == "cp1252")

    return min(_PAGES, key=bits).name


def _bits(data: bytes, page: _Page) -> float:
    text = _decoded(data, page.name)
    whole = text.encode(page.name, "replace") == data
    around = itertools.pairwise([" ", *text])
    bits = sum(_surprise(*pair, page) for pair in around if not "".join(pair).isascii())
    if not (page.is_latin or page.leads) and re.search("[A-Za-z]", text):
        bits += 6.0  # words of another language
    bits += _ODD * len(re.findall(page.odd, text.lower()))
    bits += _SIGN * len(re.findall(_IN_WORDS, text.lower())) * page.is_latin
    bits += _LOWER * (text[:1].islower() and not text[:1].isascii())
    bits += _ODD * sum(map(_is_odd, text, text[1:], text[2:]))
    if page.letters == _SLAVIC and whole:
        bits -= _FOREIGN * min(_MOST, _foreign(text, data))
    return bits if whole else bits + 25.0


def _foreign(text: str, data: bytes) -> int:
    """Count what no Western language has of a text in cp1250 read as cp1252; 0 where no Central European one has it."""
    is_word = not any(before.islower() and char.isupper() for before, char in itertools.pairwise(text))
    western = _decoded(data, "cp1252")
    return len(_bigrams(western) - WESTERN) if is_word and text != western and _bigrams(text) <= CENTRAL else 0


def _bigrams(text: str) -> set[str]:
    """Give the letters beyond ASCII with what is beside them, `_` for the edge of a word."""
    words = "_" + re.sub(r"[\W\d_]", "_", text.lower()) + "_"
    return {before + char for before, char in itertools.pairwise(words) if not (before + char).isascii()}


def _surprise(before: str, char: str, page: _Page) -> float:
    """Say how many bits this page's language spends on a character after another one."""
    letters = before.isalpha() and char.isalpha()
    if char.isascii():
        if page.is_latin:
            return (9.0 if letters and before.islower() and char.isupper() else 0.0) + _odd(before, char)
        return (_MIXED[page.leads is None] if letters else 0.0) + _odd(before, char)
    if page.leads is not None:
        return _pair(char, page) + (_MIXED[0] if letters else _LOWER) * (before.isascii() and before.isalpha())
    if (place := page.letters.find(char.lower())) < 0:
        if (char == "’" and before.isalpha()) or char in "“”„":
            return 9.0
        if "─" <= char <= "▟":
            return 30.0
        usual = char in _QUOTES and not (before.isalpha() and char in _OPENING)
        return 11.0 if usual else 15.0 if char in "±²³µ½×" else 19.0
    case = 0.0 if char == char.lower() else 9.0 if before.islower() else 0.5 if before.isupper() else 3.0
    mixed = _MIXED[1] if letters and before.isascii() and not page.is_latin else 0.0
    again = 2.0 if letters and not before.isascii() and page.is_latin else 0.0
    return (8.0 + 0.1 * place if page.is_latin else 3.0 + 0.15 * place) + case + mixed + again + _odd(before, char)


def _is_odd(before: str, char: str, after: str) -> bool:
    """Tell whether a capital letter stands in a word that is not in them."""
    return not char.isascii() and char.isupper() and before.isupper() and after.islower()


def _odd(before: str, char: str) -> float:
    return 12.0 if char.isalpha() and before in "£¥§¹²³¼½¾" else 0.0


def _pair(char: str, page: _Page) -> float:
    """Say how many bits a character of two bytes takes, on average of its kind."""
    if "ぁ" <= char <= "ー" and page.name == "cp932":
        return 7.5
    if char in _SIGNS:
        return 11.0
    if char in (_KOREAN if page.name == "cp949" else _HAN):
        return 8.0
    data = char.encode(page.name, "replace")
    if len(data) == 1 or unicodedata.category(char) == "Co":  # half a katakana; nothing that has a meaning
        return 18.0 * len(data)
    assert page.leads is not None
    if data[0] in page.leads and (data[1] > 0xA0 or page.extended):
        return 13.0
    return 17.0 if data[1] > 0xA0 or page.extended else 22.0
