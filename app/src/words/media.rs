//! Words around images: adding them, describing them, and why one is not taken.

use crate::media::Refused;

#[derive(Debug)]
pub struct Media {
    /// The list of everything that is stored.
    pub heading: &'static str,
    pub images: &'static str,
    /// The nth image of a form.
    pub image: fn(usize) -> String,
    pub choose: &'static str,
    pub choose_help: &'static str,
    pub add: &'static str,
    pub alt: &'static str,
    pub alt_help: &'static str,
    pub new_alt: &'static str,
    pub decorative: &'static str,
    pub position: &'static str,
    pub remove: &'static str,
    pub store: &'static str,
    pub delete: &'static str,
    pub none: &'static str,
    pub older: &'static str,
    /// In how many posts.
    pub uses: fn(i64) -> String,
    pub nothing_chosen: &'static str,
    pub in_use: &'static str,
    pub too_many: fn(usize) -> String,
    pub needs_alt: fn(usize) -> String,
    pub added: fn(usize) -> String,
    /// The file's name and why it is not taken.
    pub refused: fn(&str, &Refused) -> String,
}

fn kib(bytes: u64) -> u64 {
    bytes.div_ceil(1024)
}

pub const EN: Media = Media {
    heading: "Images",
    images: "Images",
    image: |n| format!("Image {n}"),
    choose: "Add images",
    choose_help: "JPEG, PNG or WebP. Place, camera and time are taken out before an image is stored.",
    add: "Add without posting yet",
    alt: "What it shows",
    alt_help: "What an image shows is for readers who do not see it.",
    new_alt: "What the new image shows",
    decorative: "A decoration, there is nothing to say",
    position: "Place in the post",
    remove: "Remove from the post",
    store: "Store",
    delete: "Delete",
    none: "There are no images yet.",
    older: "Older images",
    uses: |n| match n {
        0 => "in no post".to_owned(),
        1 => "in 1 post".to_owned(),
        n => format!("in {n} posts"),
    },
    nothing_chosen: "No file was chosen.",
    in_use: "A post shows this image, perhaps one in the trash; it was not deleted.",
    too_many: |most| format!("A post has {most} images at most. Remove one first."),
    needs_alt: |n| format!("Image {n}: write what it shows, or tick that it is a decoration."),
    added: |n| match n {
        1 => "1 image is stored.".to_owned(),
        n => format!("{n} images are stored."),
    },
    refused: |name, refused| {
        let why = match refused {
            Refused::Empty => "it is empty".to_owned(),
            Refused::Unknown => "it is no JPEG, PNG or WebP image".to_owned(),
            Refused::Other("HEIC") => {
                "it is a HEIC file. Set the camera to “most compatible”, or save it as JPEG".to_owned()
            }
            Refused::Other(kind) => format!("it is a {kind} file. JPEG, PNG and WebP are taken"),
            Refused::Animated => "it is animated. Still images are taken".to_owned(),
            Refused::TooManyBytes { bytes, limit } => {
                format!("it has {} KiB. {} KiB are the most", kib(*bytes), kib(*limit))
            }
            Refused::TooManyPixels { width, height, limit } => {
                let limit = limit / 1_000_000;
                format!("it is {width} × {height} pixels. {limit} megapixels are the most")
            }
            Refused::Truncated => "it ends too early. Send it again".to_owned(),
            Refused::Damaged(what) => format!("it is damaged ({what}). Save it again with another program"),
            Refused::Unsupported(what) => format!("browsers do not show it ({what}). Save it as an ordinary JPEG"),
        };
        format!("{name} was not taken: {why}.")
    },
};

pub const JA: Media = Media {
    heading: "画像",
    images: "画像",
    image: |n| format!("画像 {n}"),
    choose: "画像を追加",
    choose_help: "JPEG・PNG・WebP。撮影場所・カメラ・日時の情報は保存前に取り除かれます。",
    add: "投稿せずに追加",
    alt: "画像の説明",
    alt_help: "画像の説明は、画像を見られない読者のための文です。",
    new_alt: "追加する画像の説明",
    decorative: "飾りなので説明は不要",
    position: "投稿内の順番",
    remove: "投稿から外す",
    store: "保存",
    delete: "削除",
    none: "画像はまだありません。",
    older: "古い画像",
    uses: |n| match n {
        0 => "未使用".to_owned(),
        n => format!("{n}件の投稿で使用"),
    },
    nothing_chosen: "ファイルが選ばれていません。",
    in_use: "この画像は投稿 (ゴミ箱の中を含む) で使われているため、削除しませんでした。",
    too_many: |most| format!("1つの投稿の画像は{most}枚までです。先に1枚外してください。"),
    needs_alt: |n| format!("画像 {n}: 説明を書くか、「飾り」に印を付けてください。"),
    added: |n| format!("{n}枚の画像を保存しました。"),
    refused: |name, refused| {
        let why = match refused {
            Refused::Empty => "空のファイルです".to_owned(),
            Refused::Unknown => "JPEG・PNG・WebP の画像ではありません".to_owned(),
            Refused::Other("HEIC") => {
                "HEIC ファイルです。カメラの設定を「互換性優先」にするか、JPEG で保存してください".to_owned()
            }
            Refused::Other(kind) => format!("{kind} ファイルです。受け付けるのは JPEG・PNG・WebP です"),
            Refused::Animated => "動く画像です。受け付けるのは静止画だけです".to_owned(),
            Refused::TooManyBytes { bytes, limit } => {
                format!("{} KiB あります。上限は {} KiB です", kib(*bytes), kib(*limit))
            }
            Refused::TooManyPixels { width, height, limit } => {
                let limit = limit / 1_000_000;
                format!("{width} × {height} ピクセルあります。上限は {limit} メガピクセルです")
            }
            Refused::Truncated => "途中で切れています。もう一度送ってください".to_owned(),
            Refused::Damaged(what) => format!("壊れています ({what})。別のプログラムで保存し直してください"),
            Refused::Unsupported(what) => {
                format!("ブラウザーで表示できません ({what})。普通の JPEG で保存してください")
            }
        };
        format!("{name} は受け付けられません: {why}。")
    },
};
