//! Rights on Windows: owners and access lists, which say by account what is allowed.
//!
//! Why not `icacls.exe`: it cannot tell the owner, it prints names in the language of the system, and each command would have to
//! start it. It is what an admin has, so it is what the errors name; accounts are written as SIDs there, which are the same in
//! every language.

use std::io;
use std::os::windows::fs::FileTypeExt;
use std::path::Path;

use windows_permissions::constants::{SeObjectType, SecurityInformation};
use windows_permissions::utilities::current_process_sid;
use windows_permissions::wrappers::{
    ConvertSecurityDescriptorToStringSecurityDescriptor, ConvertStringSecurityDescriptorToSecurityDescriptor,
    GetNamedSecurityInfo, SetNamedSecurityInfo,
};

use super::Exposed;
use super::access::{Access, CHANGE_FILE, EXCHANGE_WITHIN};

/// As `icacls` takes them: administrators and SYSTEM.
const ADMINISTRATORS: &str = "*S-1-5-32-544";
const SYSTEM: &str = "*S-1-5-18";

/// Who wrote what salver obeys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Author {
    account: String,
    is_trusted: bool,
}

impl Author {
    /// The author of what is at a path; `None` where nothing is. An error if others could have written it as well, with the
    /// commands that mend it.
    pub(crate) fn of(path: &Path) -> Result<Option<Author>, String> {
        if !path.exists() {
            return Ok(None);
        }
        let wanted = if path.is_dir() { EXCHANGE_WITHIN } else { CHANGE_FILE };
        let found = access(path).and_then(|access| Ok((access, abbreviated(&user()?)?)));
        match found {
            Ok((access, user)) if access.is_closed(&user, wanted) => {
                Ok(Some(Author { is_trusted: access.owner_is_trusted(&user), account: access.owner }))
            }
            _ => Err(shutting(path)),
        }
    }

    /// Whether they decide about this program anyway: administrators, SYSTEM, services, or the user who runs it.
    pub(crate) fn is_trusted(&self) -> bool {
        self.is_trusted
    }

    /// Whether their settings are obeyed. Below `%ProgramData%` everybody may make folders and files, so it matters whose
    /// they are.
    pub(crate) fn may_settle(&self) -> bool {
        self.is_trusted
    }

    /// The command that gives something to the administrators, whoever this is.
    pub(crate) fn giving(&self, path: &Path) -> String {
        taking(path)
    }
}

/// New files take the access list of their folder.
pub fn keep_new_files_private() {}

/// Makes a private folder, or makes one private that is there: a list that inherits nothing and is inherited.
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    std::fs::create_dir_all(path)?;
    let user = user()?;
    let list = format!("D:P(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)(A;OICI;FA;;;{user})");
    let descriptor = ConvertStringSecurityDescriptorToSecurityDescriptor(&list)?;
    let what = SecurityInformation::Dacl | SecurityInformation::ProtectedDacl;
    SetNamedSecurityInfo(path, SeObjectType::SE_FILE_OBJECT, what, None, None, descriptor.dacl(), None)
}

/// Only its owner works in a folder, and administrators in those of services.
pub(super) fn check_owner(path: &Path) -> Result<(), Exposed> {
    let (access, user) = asked(path)?;
    if access.owner_is_trusted(&user) {
        return Ok(());
    }
    Err(Exposed::Owner {
        path: path.to_owned(),
        instead: "run salver as that user".to_owned(),
        mend: taking(path),
    })
}

/// Nobody else enters it.
pub(super) fn check_shut(path: &Path) -> Result<(), Exposed> {
    let (access, user) = asked(path)?;
    if access.is_private(&user) {
        return Ok(());
    }
    Err(Exposed::Open { path: path.to_owned(), mend: shutting(path) })
}

/// Nobody puts another folder in its place: the folder right above belongs to somebody who is trusted, and nobody else may
/// remove what is in it.
pub(crate) fn check_above(path: &Path) -> Result<(), Exposed> {
    let written = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let Some(above) = written.ancestors().skip(1).find(|above| above.is_dir()) else { return Ok(()) };
    let (access, user) = asked(above)?;
    let mend = match access.is_closed(&user, EXCHANGE_WITHIN) {
        false => shutting(above),
        true if !access.owner_is_trusted(&user) => taking(above),
        true => return Ok(()),
    };
    Err(Exposed::Exchangeable { path: path.to_owned(), above: above.to_owned(), mend })
}

pub(super) fn remove_link(path: &Path) -> String {
    let of_folder = std::fs::symlink_metadata(path).is_ok_and(|found| {
        // A junction is a link of a folder that is neither of the two.
        !found.file_type().is_symlink_file()
    });
    format!("{} \"{}\"", if of_folder { "rmdir" } else { "del" }, path.display())
}

/// The commands that let in administrators, SYSTEM and the user who runs this, and nobody else.
fn shutting(path: &Path) -> String {
    let user = user().map_or_else(|_| "%USERNAME%".to_owned(), |sid| format!("*{sid}"));
    let to_all = if path.is_dir() { ":(OI)(CI)F" } else { ":F" };
    let path = path.display();
    let grants = [ADMINISTRATORS, SYSTEM, &user].map(|account| format!("\"{account}{to_all}\"")).join(" ");
    format!("icacls \"{path}\" /reset` and then `icacls \"{path}\" /inheritance:r /grant:r {grants}")
}

/// The command that gives a file, or a folder with all in it, to the administrators.
fn taking(path: &Path) -> String {
    let below = if path.is_dir() { " /t" } else { "" };
    format!("icacls \"{}\" /setowner \"{ADMINISTRATORS}\"{below}", path.display())
}

/// What is at a path, and how the user who runs this is written there.
fn asked(path: &Path) -> Result<(Access, String), Exposed> {
    let path = path.to_owned();
    let found = access(&path).and_then(|access| Ok((access, abbreviated(&user()?)?)));
    found.map_err(|cause| match cause.kind() {
        // An administrator is one only in a window that was opened as such.
        io::ErrorKind::PermissionDenied => {
            Exposed::Denied { path, instead: "run it as administrator, or as the account of the service" }
        }
        _ => Exposed::Unknown { path, cause: cause.to_string() },
    })
}

fn access(path: &Path) -> io::Result<Access> {
    let what = SecurityInformation::Owner | SecurityInformation::Dacl;
    let descriptor = GetNamedSecurityInfo(path, SeObjectType::SE_FILE_OBJECT, what)?;
    let line = ConvertSecurityDescriptorToStringSecurityDescriptor(&descriptor, what)?;
    Access::read(&line.to_string_lossy()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The account that runs this.
fn user() -> io::Result<String> {
    Ok(current_process_sid()?.to_string())
}

/// A SID as Windows writes it into a descriptor, where some have two letters only.
fn abbreviated(sid: &str) -> io::Result<String> {
    let descriptor = ConvertStringSecurityDescriptorToSecurityDescriptor(&format!("O:{sid}"))?;
    let line = ConvertSecurityDescriptorToStringSecurityDescriptor(&descriptor, SecurityInformation::Owner)?;
    Ok(line.to_string_lossy().trim_start_matches("O:").to_owned())
}
#[cfg(test)]
mod tests {
    use super::*;

    /// Under wine this needs a umask of 077: it takes access lists from Unix modes, and adds those of the folder above.
    #[test]
    fn a_folder_that_was_made_private_is_found_to_be_and_can_be_used() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("spool");
        make_private(&folder).unwrap();
        check_above(&folder).unwrap();
        check_owner(&folder).unwrap();
        check_shut(&folder).unwrap();
        std::fs::write(folder.join("file"), "").unwrap();
        assert!(Author::of(&folder.join("file")).unwrap().unwrap().is_trusted());
    }

    #[test]
    fn an_error_names_commands_that_leave_nobody_else_in() {
        let mend = shutting(Path::new(r"C:\not there"));
        let user = user().unwrap();
        assert_eq!(
            mend,
            format!(
                "icacls \"C:\\not there\" /reset` and then `icacls \"C:\\not there\" /inheritance:r /grant:r \
                 \"*S-1-5-32-544:F\" \"*S-1-5-18:F\" \"*{user}:F\""
            )
        );
    }
}
