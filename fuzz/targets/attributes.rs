//! Templates and attributes of a hostile program, by the functions that a C program calls, of a module whose signer is
//! a thread of this process: no crash, nothing written outside of what the program gave, and the codes of the standard.
#![no_main]

use std::os::unix::net::UnixListener;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use cryptoki_sys::*;
use libfuzzer_sys::fuzz_target;
use tedge_p11::C_GetFunctionList;

mod attributes_signer;

struct Module {
    functions: &'static CK_FUNCTION_LIST,
    session: CK_SESSION_HANDLE,
    objects: Vec<CK_OBJECT_HANDLE>,
}

static MODULE: OnceLock<Module> = OnceLock::new();
static SEARCHES: AtomicU64 = AtomicU64::new(0);

fuzz_target!(|input: &[u8]| {
    let module = MODULE.get_or_init(start);
    let Some((&[what, object, count], rest)) = input.split_first_chunk::<3>() else {
        return;
    };
    let mut rest = rest;
    let mut values = Vec::new();
    let mut template = Vec::new();
    for _ in 0..count % 12 {
        let Some((head, behind)) = rest.split_first_chunk::<4>() else {
            break;
        };
        rest = behind;
        let (value, behind) = rest.split_at(rest.len().min(usize::from(head[2])));
        rest = behind;
        // What lies behind a value must stay as it is.
        let mut place = value.to_vec();
        place.extend([GUARD; 8]);
        values.push((place, value.len()));
        let place = values.last_mut().map(|(place, _)| place.as_mut_ptr());
        template.push(CK_ATTRIBUTE {
            type_: attribute(head[0], head[1]),
            pValue: match head[3] % 8 {
                0 => std::ptr::null_mut(),
                _ => place.unwrap().cast(),
            },
            ulValueLen: match head[3] % 8 {
                // With NULL only is any length allowed.
                0 => [0, 1, value.len(), usize::MAX][usize::from(head[3] >> 6)] as CK_ULONG,
                1 => CK_UNAVAILABLE_INFORMATION >> (head[3] >> 7),
                _ => value.len() as CK_ULONG,
            },
        });
        // A length that no memory has is for those that refuse it by itself.
        if what % 4 == 0 && template.last().is_some_and(|a| a.ulValueLen > 255) {
            template.last_mut().unwrap().pValue = std::ptr::null_mut();
        }
    }
    let len = template.len() as CK_ULONG;
    let first = template.as_mut_ptr();
    let f = module.functions;
    let key = match object {
        0 => 4711,
        other => module.objects[usize::from(other) % module.objects.len()],
    };
    // SAFETY: each value is as long as it says, or is NULL, or has a length that is refused.
    let rv = unsafe {
        match what % 4 {
            0 => f.C_GetAttributeValue.unwrap()(module.session, key, first, len),
            1 => {
                let mut id = [0; 2];
                let mut by = CK_MECHANISM {
                    mechanism: [
                        CKM_RSA_PKCS_KEY_PAIR_GEN,
                        CKM_EC_KEY_PAIR_GEN,
                        CKM_EC_EDWARDS_KEY_PAIR_GEN,
                        1,
                    ][usize::from(object % 4)],
                    pParameter: std::ptr::null_mut(),
                    ulParameterLen: 0,
                };
                let public = CK_ULONG::from(object) % (len + 1);
                let private = first.wrapping_add(public as usize);
                let [one, other] = &mut id;
                f.C_GenerateKeyPair.unwrap()(
                    module.session,
                    &mut by,
                    first,
                    public,
                    private,
                    len - public,
                    one,
                    other,
                )
            }
            // Each asks the signer's thread: a few are enough.
            2 if SEARCHES.fetch_add(1, Relaxed) % 64 == 0 => {
                let rv = f.C_FindObjectsInit.unwrap()(module.session, first, len);
                if rv == CKR_OK {
                    let (mut found, mut number) = ([0; 4], 0);
                    assert_eq!(
                        f.C_FindObjects.unwrap()(
                            module.session,
                            found.as_mut_ptr(),
                            4,
                            &mut number
                        ),
                        CKR_OK
                    );
                    assert!(number <= 4);
                    assert_eq!(f.C_FindObjectsFinal.unwrap()(module.session), CKR_OK);
                }
                rv
            }
            3 => f.C_SetAttributeValue.unwrap()(module.session, key, first, len),
            _ => CKR_OK,
        }
    };
    // A defect would be this one.
    assert_ne!(rv, CKR_GENERAL_ERROR);
    for (place, len) in &values {
        assert_eq!(place[*len..], [GUARD; 8], "written behind a value");
    }
    if what % 4 == 0 {
        for (attribute, (_, room)) in template.iter().zip(&values) {
            let len = attribute.ulValueLen;
            assert!(
                attribute.pValue.is_null()
                    || len == CK_UNAVAILABLE_INFORMATION
                    || len <= *room as CK_ULONG
                    || rv == CKR_OBJECT_HANDLE_INVALID,
            );
        }
    }
});

/// Those that there are, and others.
fn attribute(low: u8, high: u8) -> CK_ATTRIBUTE_TYPE {
    let known = [
        CKA_CLASS,
        CKA_TOKEN,
        CKA_PRIVATE,
        CKA_LABEL,
        CKA_VALUE,
        CKA_ID,
        CKA_KEY_TYPE,
        CKA_EC_PARAMS,
        CKA_EC_POINT,
        CKA_MODULUS,
        CKA_MODULUS_BITS,
        CKA_PUBLIC_EXPONENT,
        CKA_SENSITIVE,
        CKA_EXTRACTABLE,
        CKA_SIGN,
        CKA_ALLOWED_MECHANISMS,
        CKA_SUBJECT,
        CKA_ISSUER,
        CKA_SERIAL_NUMBER,
        CKA_CERTIFICATE_TYPE,
        CKA_PUBLIC_KEY_INFO,
        CKA_UNIQUE_ID,
        CKA_LOCAL,
        CKA_PRIVATE_EXPONENT,
    ];
    match high {
        0..200 => known[usize::from(low) % known.len()],
        _ => CK_ATTRIBUTE_TYPE::from(low) << (high % 32),
    }
}

fn start() -> Module {
    let folder = std::env::temp_dir().join(format!("fuzz-attributes-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let socket = folder.join("signer.sock");
    let _ = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || attributes_signer::serve(&listener));
    // SAFETY: no other thread reads the environment yet; the pointers are valid.
    unsafe {
        std::env::set_var("TEDGE_DEVICE_CRYPTOKI_SOCKET_PATH", &socket);
        let mut list = std::ptr::null_mut();
        assert_eq!(C_GetFunctionList(&mut list), CKR_OK);
        let functions = &*list;
        assert_eq!(
            functions.C_Initialize.unwrap()(std::ptr::null_mut()),
            CKR_OK
        );
        let mut session = 0;
        let rw = CKF_SERIAL_SESSION | CKF_RW_SESSION;
        let opened =
            functions.C_OpenSession.unwrap()(0, rw, std::ptr::null_mut(), None, &mut session);
        assert_eq!(opened, CKR_OK);
        let (mut objects, mut number) = (vec![0; 16], 0);
        assert_eq!(
            functions.C_FindObjectsInit.unwrap()(session, std::ptr::null_mut(), 0),
            CKR_OK
        );
        assert_eq!(
            functions.C_FindObjects.unwrap()(session, objects.as_mut_ptr(), 16, &mut number),
            CKR_OK
        );
        assert_eq!(functions.C_FindObjectsFinal.unwrap()(session), CKR_OK);
        objects.truncate(number as usize);
        assert_eq!(
            objects.len(),
            7,
            "private and public keys, and a certificate"
        );
        Module {
            functions,
            session,
            objects,
        }
    }
}

const GUARD: u8 = 0xa5;
