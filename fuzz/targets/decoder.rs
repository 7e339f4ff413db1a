//! What must hold for a decoder, whatever it is fed.

/// Feeds a frame to a new `$decoder` at once and in pieces, and compares. The first four bytes of
/// the input are the lengths of the pieces, taken in turn.
macro_rules! check {
    ($decoder:expr, $input:expr) => {{
        let Some((lengths, frame)) = $input.split_at_checked(4) else {
            return;
        };
        let at_once = $decoder.push(frame);
        if let Ok(Some(value)) = &at_once {
            let again = $decoder.push(&value.encode());
            assert_eq!(
                again.as_ref(),
                Ok(&Some(value.clone())),
                "encoded and decoded"
            );
        }

        let mut decoder = $decoder;
        let mut in_pieces = Ok(None);
        let mut rest = frame;
        for length in lengths.iter().cycle() {
            let (piece, behind) = rest.split_at(rest.len().min(1 + usize::from(*length)));
            rest = behind;
            in_pieces = decoder.push(piece);
            if rest.is_empty() || !matches!(in_pieces, Ok(None)) {
                break;
            }
        }
        match (at_once, in_pieces) {
            // A frame is complete when its last byte is there; that bytes follow shows only if
            // they come with it.
            (Err(DecodeError::TrailingBytes(all)), Ok(Some(_))) => assert_eq!(all, rest.len()),
            (Err(DecodeError::TrailingBytes(all)), Err(DecodeError::TrailingBytes(some))) => {
                assert_eq!(all, some + rest.len());
            }
            // What can't become a frame any more may be told later, or for another reason.
            (Err(error), Err(_) | Ok(None)) => {
                assert!(!matches!(error, DecodeError::TrailingBytes(_)));
            }
            (at_once, in_pieces) => assert_eq!(at_once, in_pieces),
        }
    }};
}

pub(crate) use check;
