//! Which characters do not show themselves.

/// Returns whether a character is a control character, or one that has no shape of its own: a line or paragraph
/// separator, a mark of direction, a space or joiner of no width, a tag.
pub(crate) fn is_hidden(char: char) -> bool {
    // The categories Cc, Cf, Zl and Zp of Unicode, but for the few of Cf that are drawn.
    char.is_control()
        || matches!(char,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}
