"""Letters that stand side by side in Western and in Central European words, at least one of them beyond ASCII.

From what Debian's programs say in their translations: of 19 languages that are written in cp1252 (twice in one of
them, and before a final accent as in Italian), and of eight in cp1250 (three times). Each group is a letter and all
that were found behind it, `_` the edge of a word.
"""

from __future__ import annotations

_WESTERN = (
    "_µàáâäåæçèéêíîñòóõöøúüýþœš aßäæçëíîïðñóõöøúš bàáäåæèéìíòóöøùúüý càáâçèéêìíòóôùúœ dªàáãäåæèéêìíòóôöøùúûüýž "
    "eßàáãäæçéëíïðñóöøúüþž fàáâãäåæèéìíðòóôöøùü gàáâäåæèéêìíðòóöøùúü hàáâãäåæèéìíîòóôõöøùúü ißàáãäæçèéêëíïðñòóõöùúüš "
    "jàáâäåæèéìòóõöøùúü kàáäåæèéìíòóõöøùúüý làáâãäåæçèéêìíòóôõöøùúüýþ màáâãäåæèéêìíñòóôõöøùúüþ "
    "nºàáâãäåæçèéêìíòóôõöøùúüýœž oßáäåçèêëíîïðñöùû pàáãäåæçèéêìíòóôõöøùúüý qàèéìòùü ràáâãäåæçèéêìíïðòóôõöøùúüý "
    "sàáâãäåæèéêìíòóõöøùúûüý tàáâãäåæèéêìíîòóôõöøùúüýþš ußàáâæçèéêëíïðñòóõø vàáãäåæèéêìíòóõöù wàäèéìòöùü xàáãèéìíòõù "
    "yäéðóöú zàáâãäèéìíòóõöùü ª_ µs º_ ß_abegiklrstz à_bcdfgilmnpqrstuvxè á_abcdefghiklmnpqrstuvxð â_cglmnst ã_eop "
    "ä_abcdefghijklmnopqrstuvxyzßäö å_abdefgiklmnoprstv æ_bcdefgijklmnprstvð ç_aouàáãòõ è_bcdfgilmnpqrstvxì "
    "é_abcdefghijlmnopqrstuvwxzé ê_cimnst ë_cefilnrstvx ì_ò í_abcdefgjklmnopqrstuvxzéðó î_clnt ï_abdelmnqrstuw "
    "ð_abfgijklmnrsuv ñaeioí ò_cdfglmnprstxù ó_abcdfgiklmnprstvxðóþ ôlmnrt õ_ehijlmnprstuvõ "
    "ö_acdefghijklmnoprstvyßäðö ø_bdefgjklmnoprstvy ù_ ú_abcdefgiklmnprstvx û_rt ü_abcdefghiklmnoprstèêü ý_jlmnprstð "
    "þaeijoruyáæéíóöúý œu šaeiouv ž_ai"
)

_CENTRAL = (
    "_áéíîóöúüćčďľłňőřśşšţťźżž aáéúüćčďđľłńňřśşšţťźżž báéíóöúýăąčęěłőřšţů cáâéíîóúăąęşţů "
    "dáâéíóôöúüýăąčęěĺľłňőřśšůűźżž eáéíîóúćčďđľłńňřśşšţťźżž fáâéíóöüăőű gáâéíóöúüăąęłőůű háéíóöúýăęĺľšůž "
    "iáéíóúüąćčđęłńňřśşšţťżž jáéíóöúüąčęśšůű káéíóôöúüýąčęľłřšůż láéíóöúüýăąčęňőšţůž máâäéíóôöúýăąćčęěłŕřśšůűž "
    "náâéíóöúüýăąčęěőşšţůűž oáćčđľłńřśşšţżž páâäéíóôúüýăćęěĺłřšţů ráâéíóôöúüýăąčđęőşšţůűž sáâéíóöúüýăąčęľłőţťůű "
    "táâéíóöúüýăąęěĺłňőřšůű uáăćčďđľłńňřśşšţťźżž váâäéíóôöúüýăčěľňőřšůűž wóąęł xă yáéíöúüćčłőřśšťűżž "
    "záâéíóöúüýăąčęłőřšťůűž á_abcdfghijklmnprstvzíčňřšž âlmnrt ätzčť é_bcdfghijklmnprstvzž í_bcdghjklmnprstvzčřšťž "
    "îmnrt ó_abcdefghijklmnoprstvwzéóúćłźż ôdlrsvzž öbdgklmnrstvz ú_abcdghjklmnprstvzčšť ü_bdegklnrstvz "
    "ý_bcdhjklmnprstvzčšž ă_cdgilmnprstuzşţ ą_cdgkpstzćłż ć_aeinou č_abcdeijklnorstuvzáíúšů ď_aotu đaeiu "
    "ę_bcdgkpstzćłśż ě_cdhjklmnprstzčřšťž ĺbpňž ľ_abkmnostuvú ł_abcdegknostuyóąę ń_cs ň_akotu "
    "ő_abdefghijklmnoprstuvzáéíö ŕt ř_aeiknostuáíů ś_clmnprwć ş_aceinotuă š_aceijklnopstuvíćčšť ţ_aeiouă ť_aou "
    "ů_bchjlmrsvzž ű_bcefijklmnrstvz ź_dlnrw ż_adeklnosuyą ž_abcdeijklnostuáíďđľňš"
)


def _pairs(groups: str) -> frozenset[str]:
    return frozenset(group[0] + behind for group in groups.split() for behind in group[1:])


WESTERN, CENTRAL = _pairs(_WESTERN), _pairs(_CENTRAL)
