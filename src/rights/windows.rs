//! Rights on Windows: owners, and access lists, which grant rights by account.
//!
//! Why not `icacls.exe`: it cannot tell the owner, it prints names in the language of the system,
//! and each command would have to start it. It is what an admin has, so it is what the errors name;
//! the errors write accounts as SIDs, which are the same in every language.

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
use super::access::Access;

const ADMINISTRATORS: &str = "S-1-5-32-544";
const SYSTEM: &str = "S-1-5-18";

/// The user who wrote the settings or a catalogue. Not told apart on Windows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Author;

impl Author {
    pub(crate) fn of(_: &Path) -> Result<Option<Author>, String> {
        Ok(None)
    }

    pub(crate) fn is_trusted(&self) -> bool {
        true
    }

    /// The command that gives the file to the administrators.
    pub(crate) fn giving(&self, path: &Path) -> String {
        taking(path)
    }
}

/// New files take the access list of their folder.
pub fn keep_new_files_private() {}

/// Makes a private folder, or makes one private that is there.
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    let fresh = !path.exists();
    std::fs::create_dir_all(path)?;
    // A folder made by an administrator belongs to the group, so a user who leaves the group loses
    // access.
    let account = if fresh { access(path)?.owner } else { user()? };
    set_list(path, &format!("D:P(A;OICI;FA;;;{ADMINISTRATORS})(A;OICI;FA;;;{SYSTEM})(A;OICI;FA;;;{account})"))
}

/// Gives a folder an access list of its own, which its files inherit.
fn set_list(path: &Path, list: &str) -> io::Result<()> {
    let descriptor = ConvertStringSecurityDescriptorToSecurityDescriptor(list)?;
    let what = SecurityInformation::Dacl | SecurityInformation::ProtectedDacl;
    SetNamedSecurityInfo(path, SeObjectType::SE_FILE_OBJECT, what, None, None, descriptor.dacl(), None)
}

/// Checks that this process runs as the owner, or as an administrator or SYSTEM if one of them owns
/// it.
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

/// Checks that nobody else may enter the folder.
pub(super) fn check_shut(path: &Path) -> Result<(), Exposed> {
    let (access, user) = asked(path)?;
    match access.others(&user) {
        Some(others) if others.is_empty() => Ok(()),
        others => {
            Err(Exposed::Open { path: path.to_owned(), mend: shutting(path, &others.unwrap_or_default()) })
        }
    }
}

/// Not checked: a user who puts another folder in its place owns it, which `check_owner` refuses.
pub(super) fn check_above(_: &Path) -> Result<(), Exposed> {
    Ok(())
}

pub(super) fn remove_link(path: &Path) -> String {
    let of_folder = std::fs::symlink_metadata(path).is_ok_and(|found| {
        // A junction is a link of a folder that is neither of the two.
        !found.file_type().is_symlink_file()
    });
    format!("{} \"{}\"", if of_folder { "rmdir" } else { "del" }, path.display())
}

/// The command that lets in administrators, SYSTEM and the user who runs this, and no longer these
/// others.
fn shutting(path: &Path, others: &[&str]) -> String {
    let user = user().unwrap_or_else(|_| ADMINISTRATORS.to_owned());
    let grants = [ADMINISTRATORS, SYSTEM, &user].map(|sid| format!("\"*{sid}:(OI)(CI)F\"")).join(" ");
    let mut command = format!("icacls \"{}\" /inheritance:r /grant:r {grants}", path.display());
    if !others.is_empty() {
        let sids: Vec<String> = others.iter().map(|account| format!("\"*{}\"", sid(account))).collect();
        command = format!("{command} /remove:g {}", sids.join(" "));
    }
    command
}

/// The command that gives a file, or a folder with all in it, to the administrators.
fn taking(path: &Path) -> String {
    let below = if path.is_dir() { " /t" } else { "" };
    format!("icacls \"{}\" /setowner \"*{ADMINISTRATORS}\"{below}", path.display())
}

/// The access list of a path, and the account that runs this as such a list writes it.
fn asked(path: &Path) -> Result<(Access, String), Exposed> {
    let found = access(path).and_then(|access| Ok((access, abbreviated(&user()?)?)));
    found.map_err(|cause| Exposed::Unknown {
        path: path.to_owned(),
        instead: match cause.kind() {
            // An administrator is one only in a window that was opened as such.
            io::ErrorKind::PermissionDenied => "run it as administrator, or as the account of the service",
            _ => "it needs a local disk that keeps access lists, such as NTFS",
        },
        cause: cause.to_string(),
    })
}

fn access(path: &Path) -> io::Result<Access> {
    let line = line_of(path)?;
    Access::read(&line).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it has no access list"))
}

/// Owner and access list as Windows writes them.
fn line_of(path: &Path) -> io::Result<String> {
    let what = SecurityInformation::Owner | SecurityInformation::Dacl;
    let descriptor = GetNamedSecurityInfo(path, SeObjectType::SE_FILE_OBJECT, what)?;
    let line = ConvertSecurityDescriptorToStringSecurityDescriptor(&descriptor, what)?;
    Ok(line.to_string_lossy().into_owned())
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

/// The SID of an account as a descriptor has it.
fn sid(abbreviated: &str) -> String {
    let descriptor = ConvertStringSecurityDescriptorToSecurityDescriptor(&format!("O:{abbreviated}"));
    let sid = descriptor.ok().and_then(|descriptor| Some(descriptor.owner()?.to_string()));
    sid.unwrap_or_else(|| abbreviated.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::check_private;
    use super::*;

    /// wine keeps access lists as modes of Unix, and has no `icacls` that works.
    fn is_wine() -> bool {
        Path::new(r"C:\windows\system32\winecfg.exe").exists()
    }

    #[test]
    fn a_folder_that_was_made_private_inherits_nothing_and_can_be_used() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("spool");
        make_private(&folder).unwrap();
        let line = line_of(&folder).unwrap();
        println!("{line}");
        check_private(&folder).unwrap_or_else(|error| panic!("{error}: {line}"));
        std::fs::write(folder.join("file"), "").unwrap();
        if is_wine() {
            eprintln!("SKIPPED: wine does not keep whether a list is protected, nor whom it names");
            return;
        }
        assert!(line.contains("D:P"), "{line}");
        let user = abbreviated(&user().unwrap()).unwrap();
        let inside = access(&folder.join("file")).unwrap();
        assert_eq!(inside.others(&user), Some(vec![]), "what is made in it is private as well");
    }

    #[test]
    fn a_folder_that_others_may_read_is_refused_until_it_is_shut_as_the_error_says() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("spool");
        make_private(&folder).unwrap();
        let account = user().unwrap();
        for other in ["S-1-1-0", "S-1-5-32-545"] {
            if is_wine() && other != "S-1-1-0" {
                eprintln!("SKIPPED: wine knows no group but everyone");
                continue;
            }
            set_list(&folder, &format!("D:P(A;OICI;FA;;;{account})(A;OICI;FR;;;{other})")).unwrap();
            let refused = check_private(&folder).unwrap_err();
            let Exposed::Open { mend, .. } = &refused else { panic!("{refused}") };
            let ends = format!("\"*{account}:(OI)(CI)F\" /remove:g \"*{other}\"");
            assert!(mend.starts_with("icacls ") && mend.ends_with(&ends), "{mend}");
            if is_wine() {
                eprintln!("SKIPPED: wine's icacls does nothing");
                make_private(&folder).unwrap();
            } else {
                use std::os::windows::process::CommandExt;
                // cmd takes the quotes as they are.
                let done = std::process::Command::new("cmd").arg("/c").raw_arg(mend).status().unwrap();
                assert!(done.success(), "{mend}");
            }
            check_private(&folder).unwrap();
        }
    }
}
