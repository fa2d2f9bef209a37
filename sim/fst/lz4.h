// What Verilator's FST writer uses of LZ4, for machines without LZ4's headers: a
// greedy compressor to the LZ4 block format.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

inline int LZ4_compressBound(int size) { return size + size / 255 + 16; }

inline int LZ4_compress_default(const char* source, char* target, int size, int /*room*/) {
    constexpr int kMinMatch = 4, kTail = 12;  // the last match starts 12 bytes before the end
    constexpr int kLastLiterals = 5, kHashBits = 14;
    const auto* in = reinterpret_cast<const uint8_t*>(source);
    auto* out = reinterpret_cast<uint8_t*>(target);
    std::vector<int> last(size_t{1} << kHashBits, -1);  // where a hash was seen last
    const auto load = [in](int at) {
        uint32_t value;
        std::memcpy(&value, in + at, 4);
        return value;
    };
    const auto extend = [&out](int length) {
        for (length -= 15; length >= 255; length -= 255) *out++ = 255;
        *out++ = static_cast<uint8_t>(length);
    };
    const auto emit = [&](int from, int to, int offset, int match) {
        const int literals = to - from, extra = match - kMinMatch;
        uint8_t& token = *out++;
        token = static_cast<uint8_t>((literals < 15 ? literals : 15) << 4);
        if (literals >= 15) extend(literals);
        std::memcpy(out, in + from, literals);
        out += literals;
        if (!match) return;  // the block's last sequence
        *out++ = static_cast<uint8_t>(offset);
        *out++ = static_cast<uint8_t>(offset >> 8);
        token |= static_cast<uint8_t>(extra < 15 ? extra : 15);
        if (extra >= 15) extend(extra);
    };
    int anchor = 0;
    for (int at = 0; at < size - kTail;) {
        int& slot = last[load(at) * 2654435761u >> (32 - kHashBits)];
        const int seen = slot;
        slot = at;
        if (seen < 0 || at - seen > 65535 || load(seen) != load(at)) {
            ++at;
            continue;
        }
        int match = kMinMatch;
        while (at + match < size - kLastLiterals && in[seen + match] == in[at + match]) ++match;
        emit(anchor, at, at - seen, match);
        at += match;
        anchor = at;
    }
    emit(anchor, size, 0, 0);
    return static_cast<int>(out - reinterpret_cast<uint8_t*>(target));
}
