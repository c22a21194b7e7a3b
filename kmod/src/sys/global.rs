// SPDX-License-Identifier: GPL-2.0

//! Values that belong to the whole module.

/// A global mutex, with a function that prepares it and that `init` of the module calls before anything else.
#[macro_export]
macro_rules! module_mutex {
    ($(#[$meta:meta])* $vis:vis static $name:ident: Mutex<$type:ty> = $value:expr; $prepare:ident) => {
        ::kernel::sync::global_lock! {
            $(#[$meta])*
            #[allow(unsafe_code, reason = "the preparing is what makes it sound")]
            // SAFETY: Prepared by the function below before anything else of the module runs.
            $vis unsafe(uninit) static $name: Mutex<$type> = $value;
        }

        /// Called once, first thing when the module is loaded.
        #[allow(unsafe_code, reason = "the place is given by the macro")]
        $vis fn $prepare() {
            // SAFETY: Called once, see above.
            unsafe { $name.init() };
        }
    };
}
