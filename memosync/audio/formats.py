"""Which formats are taken, and how what comes is known by its first bytes."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from .headers import WAVES, chunks, parse
from .id3 import behind_id3
from .pcm import is_open

if TYPE_CHECKING:
    from .chains import OfPipe, Peeking
    from .id3 import Peek

FORMATS = (  # of FFmpeg, that have sound in them and name no other file
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dsf,dss,dts,eac3,flac,flv,g722,g726,g723_1,gsm,gxf,iff,ircam,"
    "latm,loas,matroska,mlp,mov,mp3,mpc,mpc8,mpeg,mpegts,mxf,nistsphere,nut,ogg,oma,qcp,rm,shn,sox,swf,tta,tak,truehd,"
    "voc,w64,wav,webm,wsd,wtv,wv,xwma"
)
_SNDFILE = (b"2BIT", b" paf", b"fap ", b"PVF1", b"\xf0\x7e", b"ALawSoundFile", b"MATLAB 5.0 MAT")  # read by it alone
_WAV_CODECS = {b"\x14\0", b"\x38\0", b"\x40\0"}  # G.723, NMS, G.721 (mmreg.h): FFmpeg takes the second for AMR
_AU_CODECS = {bytes([0, 0, 0, number]) for number in (23, 25, 26)}  # G.721 and G.723 (Sun's audio.h)
_FINAL_BLOCK = 0x10  # of the flags of a block of WavPack, in the second byte
_SLN = (12_000, 16_000, 24_000, 32_000, 44_100, 48_000, 96_000, 192_000)  # Hz that Asterisk names so
_AHEAD = 1 << 26  # bytes in which an index, or the sound, must begin
_KNOWN = {  # how files begin that are audio, or could be taken for it
    b"OggS": "Ogg",
    b"fLaC": "FLAC",
    b"ID3": "MP3",
    b"caff": "CAF",
    b".snd": "AU",
    b"#!AMR": "AMR",
    b"RIFF": "WAV or AVI",
    b"RF64": "WAV",
    b"FORM": "AIFF",
    b"MThd": "MIDI, which is notes and no sound",
    b"\x1a\x45\xdf\xa3": "WebM or Matroska",
    b"\x1f\x43\xb6\x75": "a part of a WebM without its beginning",
    b"\x30\x26\xb2\x75": "WMA",
}
_OTHER = (b"%PDF", b"PK\3\4", b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"\x7fELF", b"\x1f\x8b")  # no sound, certainly
_UNREADABLE = {  # what recorders and messengers write that neither decodes, how it begins
    b"dss": "DSS of a dictation machine",  # behind the number of blocks of its header; so are the next two
    b"ds2": "DS2 of a dictation machine",
    b"enc": "DSS of a dictation machine, enciphered",
    b"MS_VOICE": "MSV or DVF of a Sony recorder",
    b"#!SILK": "SILK of a messenger",
}


@dataclass(frozen=True, slots=True)
class Headerless:
    """Sound of which nothing but the name of its file says what it is."""

    form: str  # as FFmpeg calls it
    called: str  # as people do
    rate: int  # Hz


_HEADERLESS = {  # as telephone exchanges write it, by the end of a file's name; of G.722 FFmpeg knows it itself
    **dict.fromkeys(("al", "alaw"), Headerless("alaw", "A-law", 8_000)),
    **dict.fromkeys(("ul", "ulaw"), Headerless("mulaw", "µ-law", 8_000)),
    "g729": Headerless("g729", "G.729", 8_000),
    "sln": Headerless("s16le", "plain samples", 8_000),
    **{f"sln{rate // 1_000}": Headerless("s16le", "plain samples", rate) for rate in _SLN},
}


def headerless(begin: bytes, name: str) -> Headerless | None:
    """Tell what a file of this name is that begins like nothing else."""
    found = _HEADERLESS.get(name.rpartition(".")[2].lower())
    return None if begin.startswith((*_KNOWN, *_UNREADABLE, *_OTHER)) else found


def what_it_is(begin: bytes, error: BaseException | None) -> tuple[str, str | None]:
    """Say what it is that cannot be read, given how it begins and the error of FFmpeg; and what helps."""
    if known := _named(begin, error):
        return known, None
    if begin.startswith(_OTHER) or _is_text(begin):
        return "not audio, as far as FFmpeg and libsndfile know", None
    return (
        "not audio, or sound without a header: nothing in it says what it is",
        "such sound is known by the end of its file's name: memosync record FILE.g722, .g729, .ul, .al or .sln",
    )


def _is_text(begin: bytes) -> bool:
    """Tell whether it begins with words, the last letter may be cut off; silence is one byte, repeated."""
    text = begin.decode(errors="ignore")
    return (
        len(set(begin)) > 2
        and len(text.encode()) > len(begin) - 4
        and all(char.isprintable() or char.isspace() for char in text)
    )


def _named(begin: bytes, error: BaseException | None) -> str:
    """Say what begins like audio; nothing where that is not known."""
    if not begin:
        return "there is no sound in it, nor anything else"
    if begin[4:8] in (b"ftyp", b"mdat", b"wide", b"moov"):
        return "it is MP4 or QuickTime whose index (moov) is missing: the recorder did not end it, or it was cut off"
    for magic, name in _UNREADABLE.items():
        if begin.startswith(magic) or (begin[0] < 16 and begin[1:].startswith(magic)):
            return f"it is {name}, which neither FFmpeg nor libsndfile decodes"
    if getattr(error, "errno", None) == errno.EINVAL:  # it is not on the white list
        return "it is in a format that FFmpeg knows and memosync does not take"
    for magic, name in _KNOWN.items():
        if begin.startswith(magic):
            return f"it begins like {name}, but nothing in it can be read: it is damaged, or cut off"
    return ""


def is_free_format(peek: Peek) -> bool:
    """Tell whether it is MP3 whose frames tell no bit rate (ISO/IEC 11172-3, 2.4.2.3): libsndfile alone reads that."""
    head = peek(behind_id3(peek), 4)
    is_layer_3 = len(head) == 4 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2
    return is_layer_3 and head[2] & 0xF0 == 0 and head[2] & 0x0C != 0x0C  # and a rate


def why_whole(pipe: Peeking | OfPipe) -> str:
    """Say why what comes has to be there as a whole before it can be read; nothing where it can be read as it comes."""

    def peek(at: int, size: int) -> bytes:
        return pipe.peek(size, at)

    if _has_index_behind(peek):
        return "has its index at its end"
    if (found := parse(peek)) and is_open(found, partial(peek, found.start)):
        return "does not tell yet at which end of 32 bits its 24 are"
    return "can only be read as a file" if _is_for_sndfile(peek) else ""


def _has_index_behind(peek: Peek) -> bool:
    """Tell whether what comes has its index behind its sound.

    So have MP4 and QuickTime as recorders write them (ISO/IEC 14496-12, 8.1.1), and CAF unless its sound is plain
    samples (Apple's Core Audio Format Specification).
    """
    is_caf = peek(0, 4) == b"caff"
    at, index = (8, (b"pakt",)) if is_caf else (0, (b"moov", b"moof"))
    while at < _AHEAD and len(head := peek(at, 16)) == 16:
        if is_caf:
            name, size = head[:4], 12 + int.from_bytes(head[4:12], "big")
            if name == b"desc" and peek(at + 20, 4) in (b"lpcm", b"ulaw", b"alaw"):
                return False
        else:
            size, name = int.from_bytes(head[:4], "big"), head[4:8]
            size = int.from_bytes(head[8:], "big") if size == 1 else size
            if at == 0 and name not in (b"ftyp", b"wide", b"free", b"skip", b"pnot", b"uuid", b"mdat"):
                return False
        if name in (*index, b"mdat", b"data"):
            return name not in index
        at += max(8, size)
    return False


def _is_for_sndfile(peek: Peek) -> bool:
    """Tell whether only libsndfile reads it well, which has to have a file, or FFmpeg no pipe of it."""
    begin = behind_id3(peek)
    head = peek(begin, 32)
    if head.startswith(_SNDFILE) or is_free_format(peek):
        return True
    if head[:4] == b".snd":
        return head[12:16] in _AU_CODECS
    if (head[:4], head[8:12]) in WAVES:
        order = ">" if head[:4] == b"RIFX" else "<"
        tags = (peek(at, 2) for name, at, _ in chunks(peek, begin + 12, order) if name == b"fmt ")
        return next(tags, b"")[:: 1 if order == "<" else -1] in _WAV_CODECS
    if head[:4] == b"wvpk":  # FFmpeg looks for all blocks of a first frame, and goes back
        return len(head) == 32 and not head[25] & _FINAL_BLOCK
    if head[:4] != b"FORM" or head[8:12] not in (b"AIFF", b"AIFC"):
        return head[:4] == b"FORM" and head[8:12] in (b"8SVX", b"16SV", b"MAUD")
    described = False
    for name, at, size in chunks(peek, begin + 12, ">"):
        if name == b"SSND":
            return not described or not size  # which is what is written into a pipe
        described |= name == b"COMM"
        if name == b"COMM" and size >= 22 and peek(at + 18, 4) == b"DWVW":
            return True
    return False
