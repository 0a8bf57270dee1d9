//! The one combination of keys that reaches a guest without a keyboard: Ctrl-Alt-Del, by QEMU's names of keys (qcodes).

/// Which of its keys are held.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Combination {
    control: bool,
    alt: bool,
    delete: bool,
}

impl Combination {
    /// A key goes down or up; whether that completes the combination. None: it is another key.
    pub(super) fn press(&mut self, name: &str, down: bool) -> Option<bool> {
        let before = self.is_complete();
        match name {
            "ctrl" | "ctrl_r" => self.control = down,
            "alt" | "alt_r" => self.alt = down,
            "delete" | "kp_decimal" => self.delete = down,
            _ => return None,
        }
        Some(self.is_complete() && !before)
    }

    fn is_complete(self) -> bool {
        self.control && self.alt && self.delete
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_complete_once_however_long_it_is_held() {
        let mut keys = Combination::default();
        assert_eq!(keys.press("ctrl", true), Some(false));
        assert_eq!(keys.press("delete", true), Some(false));
        assert_eq!(keys.press("alt", true), Some(true));
        assert_eq!(keys.press("alt", true), Some(false));
        assert_eq!(keys.press("delete", false), Some(false));
        assert_eq!(keys.press("delete", true), Some(true));
        assert_eq!(keys.press("a", true), None);
    }
}
