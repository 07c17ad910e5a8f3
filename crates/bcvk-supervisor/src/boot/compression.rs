//! Compression of kernels, their modules and initramfs images.

use std::io;

use bcvk_contract::bounded;
use flate2::bufread::GzDecoder;
use lzma_rust2::XzReader;
use ruzstd::decoding::StreamingDecoder;

/// Limit for the size of an xz stream's dictionary, in KiB. The stream's header can ask for 4 GiB; a
/// distribution's streams ask for at most 64 MiB.
const XZ_MEMORY_KIB: u32 = 128 << 10;

/// A format that distributions use and that can be undone here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    Gzip,
    Xz,
    Zstd,
}

impl Compression {
    /// Detects the compression from the leading bytes; `None` if there is none or it is unknown.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            _ => None,
        }
    }

    /// Undoes the one stream that `bytes` begin with, and moves `bytes` behind it.
    ///
    /// # Errors
    /// If the stream is damaged, or has more than `most` bytes without its compression.
    pub(super) fn undo(self, bytes: &mut &[u8], most: u64) -> io::Result<Vec<u8>> {
        let content = match self {
            Self::Gzip => bounded::read(GzDecoder::new(bytes), most),
            Self::Xz => bounded::read(XzReader::new_mem_limit(bytes, false, XZ_MEMORY_KIB), most),
            Self::Zstd => {
                let stream = StreamingDecoder::new(bytes).map_err(io::Error::other)?;
                bounded::read(stream, most)
            }
        };
        content?.ok_or_else(|| io::Error::other(format!("it has more than {} MiB", most >> 20)))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write;

    use flate2::Compression as Level;
    use flate2::write::GzEncoder;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    pub(in super::super) fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Level::fast());
        encoder.write_all(bytes).expect("write");
        encoder.finish().expect("the end")
    }

    pub(in super::super) fn zstd(bytes: &[u8]) -> Vec<u8> {
        compress_to_vec(bytes, CompressionLevel::Fastest)
    }

    #[test]
    fn one_stream_is_undone_and_the_rest_is_left() {
        // The programs were xz --check=crc32 --lzma2=dict=1MiB, as the kernel's build calls it; zstd
        // -19; gzip -n.
        for hex in [
            "fd377a585a0000016922de360200210110000000a8708e86e0001b00115d00308809a733a9428c5b0823\
             fcf2fd200000000000005e546e510001291c8f76c1709042990d010000000001595a",
            "28b52ffd04688500005061206d6f64756c652c200100f50a125e77b859",
            "1f8b08000000000000034b54c8cd4f29cd49d55148c46001005e546e511c000000",
        ] {
            let packed: Vec<u8> = (0..hex.len() / 2)
                .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("hex"))
                .collect();
            let method = Compression::of(&packed).expect("compressed");
            let bytes = [packed.as_slice(), b"rest"].concat();
            let mut rest = bytes.as_slice();
            let content = method.undo(&mut rest, 28).expect("packed well");
            assert_eq!(content, b"a module, a module, a module");
            assert_eq!(rest, b"rest", "{method:?}");
            assert!(
                method.undo(&mut bytes.as_slice(), 27).is_err(),
                "{method:?}"
            );
            assert!(method.undo(&mut &packed[..20], 28).is_err(), "{method:?}");
        }
        assert_eq!(Compression::of(b"module"), None);
    }
}
